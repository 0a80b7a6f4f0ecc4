import { chmod, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { initramfs, moduleMembers, perVmInitramfs } from '../../../ts/images/initramfs.js';
import type { LoadableModule } from '../../../ts/images/kernel-modules.js';
import { run } from '../../../ts/util/run.js';
import { scratchDirectory } from '../../support/scratch.js';

const MODULES: LoadableModule[] = [
  { name: 'ring', path: '/lib/modules/1/kernel/ring.ko', depends: [], aliases: [], data: Buffer.from('RING') },
  {
    name: 'blk',
    path: '/lib/modules/1/kernel/blk.ko',
    depends: ['ring'],
    aliases: ['virtio:d2v*'],
    data: Buffer.from('BLK!!'),
  },
];

const list = async (archive: Buffer) =>
  (await run('cpio', ['--list', '--quiet'], { input: archive })).toString().split('\n');

describe('initramfs', () => {
  it('is one archive: the agent as init, the list of modules, and the modules, folders before what is in them', async () => {
    const archive = initramfs(Buffer.from('AGENT'), moduleMembers(MODULES));
    expect(await list(archive)).toEqual([
      'init',
      'dev',
      'lib',
      'lib/modules',
      'lib/modules/1',
      'lib/modules/1/kernel',
      'smartvm',
      'dev/console',
      'smartvm/modules.json',
      'lib/modules/1/kernel/ring.ko',
      'lib/modules/1/kernel/blk.ko',
      '',
    ]);
    const text = await run('cpio', ['--extract', '--to-stdout', '--quiet', 'smartvm/modules.json'], { input: archive });
    expect(JSON.parse(text.toString())).toEqual(MODULES.map(({ data: _data, ...module }) => module));
  });
});

describe('perVmInitramfs', () => {
  it('is the base, byte for byte, then an archive with the config, readable by its owner alone', async () => {
    await using scratch = await scratchDirectory();
    const base = Buffer.concat([initramfs(Buffer.from('AGENT'), moduleMembers(MODULES)), Buffer.from('odd')]);
    await writeFile(scratch.file('base'), base);
    await chmod(scratch.file('base'), 0o444);
    await perVmInitramfs(scratch.file('base'), scratch.file('own'), { id: 'vm', hostKey: 'SECRET' });
    const own = await readFile(scratch.file('own'));
    expect(own.subarray(0, base.length).equals(base)).toBe(true);
    const second = own.subarray(base.length + 1); // 'odd' is padded by one
    const listing = (await run('cpio', ['--list', '--verbose', '--quiet'], { input: second })).toString();
    expect(listing).toMatch(/-rw-------.*smartvm\/config\.json/);
    const config = await run('cpio', ['--extract', '--to-stdout', '--quiet', 'smartvm/config.json'], { input: second });
    expect(JSON.parse(config.toString())).toEqual({ id: 'vm', hostKey: 'SECRET' });
    expect((await stat(scratch.file('own'))).mode & 0o777).toBe(0o600);
    expect((await readFile(scratch.file('base'))).equals(base)).toBe(true);
  });

  it('refuses a target that is there, a planted link too, and leaves it alone', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('base'), 'base');
    await writeFile(scratch.file('victim'), 'mine');
    await symlink(scratch.file('victim'), scratch.file('link'));
    for (const target of ['victim', 'link']) {
      await expect(perVmInitramfs(scratch.file('base'), scratch.file(target), {})).rejects.toMatchObject({
        code: 'FILE_WRITE_FAILED',
      });
    }
    expect(await readFile(scratch.file('victim'), 'utf8')).toBe('mine');
  });

  it('leaves nothing behind when the base is not there', async () => {
    await using scratch = await scratchDirectory();
    await expect(perVmInitramfs(scratch.file('none'), scratch.file('own'), {})).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
    });
    expect(await readdir(scratch.path)).toEqual([]);
  });
});
