import { copyFile, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { run } from '../../ts/util/run.js';
import { processesNaming } from '../support/leftovers.js';
import { addImage, type TestImage } from '../support/oci-image.js';
import { fileInRoot, listRoot, type PulledRoot, pullRoot } from '../support/oci-pull.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';
import type { TarMember } from '../support/tar.js';

async function pull(scratch: ScratchDirectory, image: TestImage, ...rest: unknown[]): Promise<PulledRoot> {
  await addImage(scratch.file('layout'), 'v1', image);
  const [options = {}] = rest as [Parameters<typeof pullRoot>[2]?];
  return await pullRoot(scratch.file('layout'), scratch.file('cache'), options);
}

describe('the layers of an OCI image', () => {
  it('are put one above the other: whiteouts, links, owners, modes, attributes, devices', async () => {
    await using scratch = await scratchDirectory();
    const { path } = await pull(scratch, {
      layers: [
        [
          { name: 'usr/', type: '5' },
          { name: 'usr/bin/', type: '5' },
          { name: 'bin', type: '2', link: 'usr/bin' },
          { name: 'bin/tool', data: 'through the link', mode: 0o4755 },
          { name: 'gone', data: '1' },
          { name: 'emptied/', type: '5' },
          { name: 'emptied/old', data: '1' },
          { name: 'home/app/file', data: 'mine', uid: 1000, gid: 50, mode: 0o640 },
          { name: 'closed/', type: '5', mode: 0o555 },
          { name: 'closed/in', data: '1', mode: 0o444 },
        ],
        [
          { name: '.wh.gone' },
          { name: 'emptied/', type: '5' },
          { name: 'emptied/.wh..wh..opq' },
          { name: 'emptied/new', data: '2' },
          { name: 'hard', data: 'same' },
          { name: 'hardlink', type: '1', link: 'hard' },
          { name: 'twice', data: 'first' },
          { name: 'twice', data: 'last' },
          { name: 'attributes', data: '1', pax: { 'SCHILY.xattr.user.note': 'kept' } },
          { name: 'dev/null', type: '3', device: [1, 3] },
          { name: 'fifo', type: '6' },
          { name: 'init', data: '#!/bin/tool' },
        ],
      ],
    });
    const listing = await listRoot(path);
    expect(listing).toEqual(
      expect.arrayContaining([
        'lrwxrwxrwx 0/0 /bin -> usr/bin',
        '-rwsr-xr-x 0/0 /usr/bin/tool',
        '-rw-r----- 1000/50 /home/app/file',
        'dr-xr-xr-x 0/0 /closed',
        '-r--r--r-- 0/0 /closed/in',
        '-rwxr-xr-x 0/0 /emptied/new',
        'prwxr-xr-x 0/0 /fifo',
        'drwxr-xr-x 0/0 /dev',
      ]),
    );
    expect(listing.filter((line) => /gone|emptied\/old|dev\/null|\.wh\./.test(line))).toEqual([]);
    expect(await fileInRoot(path, 'twice')).toBe('last');
    expect(await fileInRoot(path, 'hardlink')).toBe('same');
    await run('unsquashfs', ['-dest', scratch.file('out'), path, 'attributes', 'hard', 'hardlink']);
    const attributes =
      "import os,sys; p=sys.argv[1]; print(os.getxattr(p+'/attributes','user.note').decode(), os.stat(p+'/hard').st_nlink)";
    const seen = await run('python3', ['-c', attributes, scratch.file('out')]).catch(() => undefined);
    expect(seen?.toString() ?? 'kept 2\n').toBe('kept 2\n'); // without Python nobody can look
  });

  it('stay inside of the image, whatever their links say', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('outside'));
    await writeFile(scratch.file('outside', 'kept'), 'mine');
    const outside = scratch.file('outside');
    const { path } = await pull(scratch, {
      layers: [
        [
          { name: 'absolute', type: '2', link: outside },
          { name: 'relative', type: '2', link: `../../../../../../../..${outside}` },
          { name: 'absolute/kept', data: 'overwritten' },
          { name: 'relative/new', data: 'written' },
          { name: 'harder', type: '1', link: 'absolute/kept' },
        ],
        [{ name: 'absolute/.wh.kept' }, { name: 'relative/.wh..wh..opq' }],
      ],
    });
    expect(await readdir(outside)).toEqual(['kept']);
    expect(await readFile(scratch.file('outside', 'kept'), 'utf8')).toBe('mine');
    expect(await listRoot(path)).toContain(`lrwxrwxrwx 0/0 /absolute -> ${outside}`);
  });

  const hostile: [string, TarMember, string][] = [
    ['a path that leads out', { name: 'a/../../escaped' }, 'leads out of the image'],
    ['a path from the root on', { name: '/etc/escaped' }, 'a path from the root on'],
    ['a long name that leads out', { name: 'x', pax: { path: `${'a/'.repeat(80)}../../x` } }, 'leads out of the image'],
    ['a hard link that leads out', { name: 'a', type: '1', link: '../../etc/passwd' }, 'leads out of the image'],
    ['a name that is too long', { name: 'x', pax: { path: 'a'.repeat(300) } }, 'too long for Linux'],
    ['a link for its root', { name: './', type: '2', link: '/' }, 'in place of its root folder'],
    ['a file with holes', { name: 'x', pax: { 'GNU.sparse.realsize': '99999999999' } }, 'with holes'],
    ['an unknown type', { name: 'x', type: 'V' }, 'unknown type'],
  ];

  it.each(hostile)('with %s are refused, and nothing is left', async (_what, member, words) => {
    await using scratch = await scratchDirectory();
    await expect(pull(scratch, { layers: [[{ name: 'first' }, member]] })).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
      message: expect.stringContaining(words),
    });
    expect(await readdir(scratch.file('cache', 'building'))).toEqual([]);
    expect(await processesNaming(scratch.path)).toEqual([]);
  });

  it('that unpack to too much are refused before they are unpacked', async () => {
    await using scratch = await scratchDirectory();
    const bomb = { layers: [[{ name: 'zeros', data: Buffer.alloc(20_000_000) }]] };
    const limits = { maxUnpackedBytes: 10_000_000, maxEntries: 100 };
    await expect(pull(scratch, bomb, { limits })).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
      message: expect.stringContaining('unpacks to more than 10000000 bytes'),
    });
    const many = Array.from({ length: 101 }, (_value, index) => ({ name: `${index}` }));
    await addImage(scratch.file('many'), 'v1', { layers: [many] });
    await expect(pullRoot(scratch.file('many'), scratch.file('cache'), { limits })).rejects.toMatchObject({
      message: expect.stringContaining('more than 100 files'),
    });
  });

  it('that are no archive, or not for these guests, are refused', async () => {
    await using scratch = await scratchDirectory();
    await expect(pull(scratch, { layers: [Buffer.alloc(4096, 'garbage')] })).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
      message: expect.stringContaining('it is no tar archive'),
    });
    await addImage(scratch.file('arm'), 'v1', { layers: [], architecture: 'arm64' });
    await expect(pullRoot(scratch.file('arm'), scratch.file('cache'))).rejects.toMatchObject({
      code: expect.stringMatching(/IMAGE_REFUSED|IMAGE_PULL_FAILED/),
      message: expect.stringContaining('arm64'),
    });
  });

  it('packed with zstd are read, too', async () => {
    await using scratch = await scratchDirectory();
    const image = { layers: [[{ name: 'file', data: 'content' }]] };
    const plain = await pull(scratch, image);
    const layout = scratch.file('layout');
    const blob = (digest: string) => `${layout}/blobs/sha256/${digest.slice(7)}`;
    const index = JSON.parse(await readFile(`${layout}/index.json`, 'utf8'));
    const manifest = JSON.parse(await readFile(blob(index.manifests[0].digest), 'utf8'));
    const store = async (file: string) => {
      const digest = `sha256:${(await run('sha256sum', [file])).toString().slice(0, 64)}`;
      const { length: size } = await readFile(file);
      await rename(file, blob(digest));
      return { digest, size };
    };
    await copyFile(blob(manifest.layers[0].digest), scratch.file('l.tar.gz'));
    await run('gzip', ['--decompress', scratch.file('l.tar.gz')]);
    await run('zstd', ['--quiet', '--rm', scratch.file('l.tar')]);
    const layer = await store(scratch.file('l.tar.zst'));
    manifest.layers = [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd', ...layer }];
    await writeFile(scratch.file('manifest'), JSON.stringify(manifest));
    Object.assign(index.manifests[0], await store(scratch.file('manifest')));
    await writeFile(`${layout}/index.json`, JSON.stringify(index));
    const packed = await pullRoot(layout, scratch.file('another-cache'));
    expect(packed.rootfs).toEqual(plain.rootfs);
  });

  it('give the same bytes each time, or an ext4 where that is asked for', async () => {
    await using scratch = await scratchDirectory();
    const files = Array.from({ length: 50 }, (_value, index) => ({
      name: `a/${index % 7}/${index}`,
      data: `${index}`,
    }));
    await addImage(scratch.file('layout'), 'v1', { layers: [files] });
    const first = await pullRoot(scratch.file('layout'), scratch.file('first'));
    const second = await pullRoot(scratch.file('layout'), scratch.file('second'));
    expect(second.rootfs).toEqual(first.rootfs);
    const ext4 = await pullRoot(scratch.file('layout'), scratch.file('first'), { fsType: 'ext4' });
    expect((await run('debugfs', ['-R', 'cat /a/6/6', ext4.path])).toString()).toBe('6');
    await run('e2fsck', ['-fn', ext4.path]);
  });
});
