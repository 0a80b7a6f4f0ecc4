import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { createOverlayDrive } from '../../../ts/images/overlay.js';
import { run } from '../../../ts/util/run.js';
import { scratchDirectory } from '../../support/scratch.js';

describe('createOverlayDrive', () => {
  it('makes a sparse, empty, sound ext4 that only its owner can open', async () => {
    await using scratch = await scratchDirectory();
    await createOverlayDrive(scratch.file('cache'), scratch.file('o.img'), 10_240);
    const { size, blocks, mode } = await stat(scratch.file('o.img'));
    expect({ size, mode: mode & 0o777 }).toEqual({ size: 10_240 * 1024 * 1024, mode: 0o600 });
    expect(blocks * 512).toBeLessThan(2 * 1024 * 1024);
    await run('e2fsck', ['-f', '-n', scratch.file('o.img')]);
    // Zeroed as far as the guest knows: it does not fill the file with empty inode tables.
    const groups = (await run('dumpe2fs', [scratch.file('o.img')])).toString().match(/^Group \d+:.*$/gm) ?? [];
    expect(groups.filter((group) => !group.includes('ITABLE_ZEROED'))).toEqual([]);
    expect(groups).toHaveLength(80);
  });

  it('makes the template once; one that was touched is made again and not used', async () => {
    await using scratch = await scratchDirectory();
    const make = (name: string) => createOverlayDrive(scratch.file('cache'), scratch.file(name), 64);
    await make('a');
    const template = scratch.file('cache', 'overlay', '64-mib-passing-v4.ext4');
    const first = (await stat(template)).ino;
    await make('b');
    expect((await stat(template)).ino).toBe(first);
    await writeFile(template, 'not a file system');
    await make('c');
    await run('e2fsck', ['-f', '-n', scratch.file('c')]);
    expect((await readdir(scratch.file('cache', 'overlay'))).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('gives every one of many callers at once its own', async () => {
    await using scratch = await scratchDirectory();
    const names = Array.from({ length: 8 }, (_, index) => `o${index}`);
    await Promise.all(names.map((name) => createOverlayDrive(scratch.file('cache'), scratch.file(name), 32)));
    const files = await Promise.all(names.map((name) => stat(scratch.file(name))));
    expect(new Set(files.map(({ ino }) => ino)).size).toBe(names.length);
    await run('e2fsck', ['-f', '-n', scratch.file('o7')]);
  });

  it('refuses a path that is there, a planted link too', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('victim'), 'mine');
    await symlink(scratch.file('victim'), scratch.file('link'));
    for (const name of ['victim', 'link']) {
      await expect(createOverlayDrive(scratch.file('cache'), scratch.file(name), 32)).rejects.toMatchObject({
        code: 'FILE_WRITE_FAILED',
      });
    }
    expect(await readFile(scratch.file('victim'), 'utf8')).toBe('mine');
  });

  it.each([0, -1, 15, 1.5, Number.NaN, 2 ** 40])('refuses a size of %s MiB', async (size) => {
    await using scratch = await scratchDirectory();
    await expect(createOverlayDrive(scratch.file('cache'), scratch.file('o'), size)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
    expect(await readdir(scratch.path)).toEqual([]);
  });
});
