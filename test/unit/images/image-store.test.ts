import { createHash } from 'node:crypto';
import { chmod, mkdir, open, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BlobRef } from '../../../ts/images/store/blobs.js';
import { ImageStore } from '../../../ts/images/store/image-store.js';
import { type ImageManifest, makeManifest } from '../../../ts/images/store/manifests.js';
import { holdBlobs, noteRuntimeDir } from '../../../ts/images/store/uses.js';
import { currentProcess } from '../../../ts/util/process-identity.js';
import { run } from '../../../ts/util/run.js';
import { halfEnded } from '../../support/half-ended.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

async function putImage(store: ImageStore, name: string, rootfs: string): Promise<ImageManifest> {
  await using session = await store.openSession(name);
  const [kernel, modules] = [await put(session, 'kernel'), await put(session, 'modules')];
  const blobs = { kernel, modules, rootfs: await put(session, rootfs) };
  const content = { kernelRelease: '6.1', bootArgs: 'quiet', fsType: 'squashfs', blobs } as const;
  const manifest = makeManifest({ name, arch: 'x86_64', recipe: '1' }, content);
  await store.manifests.write(name, manifest);
  return manifest;
}

const put = async (session: { putBytes(data: Uint8Array): Promise<BlobRef> }, text: string) =>
  await session.putBytes(Buffer.from(text));

const blobNames = async (scratch: ScratchDirectory) => (await readdir(scratch.file('s', 'blobs', 'sha256'))).sort();

async function openStore(scratch: ScratchDirectory): Promise<ImageStore> {
  await mkdir(scratch.file('s'), { mode: 0o700 });
  return new ImageStore(scratch.file('s'));
}

describe('the image store', () => {
  it('keeps content under its sha256, 0444 below 0700, and shares it among images', async () => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    const one = await putImage(store, 'one', 'root one');
    const two = await putImage(store, 'two', 'root two');
    expect(await blobNames(scratch)).toEqual(['kernel', 'modules', 'root one', 'root two'].map(sha256).sort());
    expect(one.blobs.kernel).toEqual(two.blobs.kernel);
    expect(one.digest).not.toBe(two.digest);
    const path = store.blobs.pathOf(sha256('root one'));
    expect(await readFile(path, 'utf8')).toBe('root one');
    expect((await stat(path)).mode & 0o777).toBe(0o444);
    expect((await stat(scratch.file('s', 'blobs', 'sha256'))).mode & 0o777).toBe(0o700);
    expect(await readdir(scratch.file('s', 'building'))).toEqual([]);
    expect(await store.list()).toMatchObject([{ name: 'one', sizeBytes: 21, usedBy: [] }, { name: 'two' }]);
  });

  it('trusts what nobody has touched, hashes what was touched, and sets aside other bytes', async () => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    const { blobs } = await putImage(store, 'one', 'root one');
    const path = store.blobs.pathOf(blobs.rootfs.sha256);
    expect(store.openTrusted('one')?.name).toBe('one');
    await utimes(path, 1, 1);
    expect(store.openTrusted('one')).toBeUndefined();
    expect((await store.open('one'))?.name).toBe('one');
    expect(store.openTrusted('one')?.name).toBe('one');
    const { atime, mtime } = await stat(path);
    await chmod(path, 0o600);
    const file = await open(path, 'r+');
    await file.write(Buffer.from('R'), 0, 1, 0);
    await file.close();
    await chmod(path, 0o444);
    await utimes(path, atime, mtime);
    expect(await store.open('one')).toBeUndefined();
    expect(await blobNames(scratch)).not.toContain(blobs.rootfs.sha256);
    expect(await readdir(scratch.file('s', 'blobs', 'corrupt'))).toEqual([blobs.rootfs.sha256]);
    await putImage(store, 'one', 'root one');
    expect(store.openTrusted('one')?.name).toBe('one');
  });

  it.each(['link', 'fifo', 'directory'])(
    'does not follow or wait for a %s planted in place of content',
    async (kind) => {
      await using scratch = await scratchDirectory();
      const store = await openStore(scratch);
      const { blobs } = await putImage(store, 'one', 'root one');
      const path = store.blobs.pathOf(blobs.rootfs.sha256);
      await rm(path);
      await writeFile(scratch.file('same'), 'root one');
      const plant = {
        link: () => symlink(scratch.file('same'), path),
        fifo: () => run('mkfifo', [path]),
        directory: () => mkdir(path),
      };
      await plant[kind as 'link']();
      expect(await store.open('one')).toBeUndefined();
      await putImage(store, 'one', 'root one');
      expect((await stat(path)).isFile()).toBe(true);
      expect(await readFile(scratch.file('same'), 'utf8')).toBe('root one');
    },
  );

  it.each([
    ['a link', (path: string) => symlink('/etc/hostname', path)],
    ['a FIFO', (path: string) => run('mkfifo', [path])],
    ['a device', (path: string) => run('mknod', [path, 'c', '1', '5'])],
    ['too large a file', (path: string) => writeFile(path, 'x'.repeat(101))],
    ['other bytes', (path: string) => writeFile(path, 'other')],
  ])('takes no %s from a tool, and keeps nothing of it', async (_name, make) => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    await using session = await store.openSession('x');
    const path = session.newFile();
    await make(path);
    const putting = session.putFile(path, { maxBytes: 100, sha256: sha256('content') });
    await expect(putting).rejects.toMatchObject({ code: 'IMAGE_PART_INVALID' });
    expect(await store.blobs.list()).toEqual([]);
  });

  it('takes no endless stream', async () => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    await using session = await store.openSession('x');
    const endless = (function* () {
      for (;;) {
        yield Buffer.alloc(1 << 20);
      }
    })();
    await expect(session.put(endless, { maxBytes: 5 << 20 })).rejects.toMatchObject({ code: 'IMAGE_PART_INVALID' });
    expect(await store.blobs.list()).toEqual([]);
  });
});

describe('ImageStore.remove and collect', () => {
  it('remove the parts that no other image has', async () => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    await putImage(store, 'one', 'root one');
    await putImage(store, 'two', 'root two');
    expect(await store.remove('one')).toBe(true);
    expect(await blobNames(scratch)).toEqual(['kernel', 'modules', 'root two'].map(sha256).sort());
    expect(await store.remove('one')).toBe(false);
  });

  it('take nothing that the record of a VM names, readable or not', async () => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    const { blobs } = await putImage(store, 'one', 'root one');
    await mkdir(scratch.file('run', 'web'), { recursive: true });
    await noteRuntimeDir(store.root, scratch.file('run'));
    await writeFile(
      scratch.file('run', 'web', 'vm.json'),
      `{"damaged, and of "${store.blobs.pathOf(blobs.rootfs.sha256)}`,
    );
    await expect(store.remove('one')).rejects.toMatchObject({ code: 'IMAGE_IN_USE', details: { vms: ['web'] } });
    expect((await store.list())[0]?.usedBy).toEqual(['web']);
    await store.manifests.remove('one');
    expect((await store.collect()).map(({ name }) => basename(name)).sort()).toEqual(
      [blobs.kernel.sha256, blobs.modules.sha256].sort(),
    );
    expect(await blobNames(scratch)).toEqual([blobs.rootfs.sha256]);
    await rm(scratch.file('run', 'web'), { recursive: true });
    expect(await store.collect()).toHaveLength(1);
  });

  it('keep an image for who has its root file system, or nothing but its parts; not for who shares its kernel alone', async () => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    const [one, two] = [await putImage(store, 'one', 'root one'), await putImage(store, 'two', 'root two')];
    await noteRuntimeDir(store.root, scratch.file('run'));
    const start = async (id: string, ...blobs: BlobRef[]) => {
      await mkdir(scratch.file('run', id), { recursive: true });
      await writeFile(scratch.file('run', id, 'vm.json'), blobs.map(({ sha256 }) => sha256).join(' '));
    };
    await start('of-one', one.blobs.kernel, one.blobs.rootfs);
    await start('of-a-copy', one.blobs.kernel);
    const usedBy = async () => (await store.list()).map((image) => image.usedBy);
    expect(await usedBy()).toEqual([['of-a-copy', 'of-one'], ['of-a-copy']]);
    await rm(scratch.file('run', 'of-a-copy'), { recursive: true });
    expect(await usedBy()).toEqual([['of-one'], []]);
    expect(await store.remove('two')).toBe(true);
    expect(await blobNames(scratch)).toEqual(['kernel', 'modules', 'root one'].map(sha256).sort());
    await start('of-two', two.blobs.kernel, two.blobs.rootfs);
    expect(await usedBy()).toEqual([['of-one']]);
  });

  it('take nothing that a living program holds; the holds of the dead go', async () => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    const { blobs } = await putImage(store, 'one', 'root one');
    const hold = async (startTime?: string) => {
      const owner = currentProcess();
      const holder = {
        id: 'vm',
        runtimeDir: scratch.file('run', 'vm'),
        owner: { ...owner, ...(startTime ? { startTime } : {}) },
      };
      return await holdBlobs(store.root, [blobs.rootfs.sha256], holder);
    };
    await hold('1');
    const release = await hold();
    await expect(store.remove('one')).rejects.toMatchObject({ code: 'IMAGE_IN_USE' });
    expect(await readdir(scratch.file('s', 'holds'))).toHaveLength(1);
    await release();
    expect(await store.remove('one')).toBe(true);
    expect(await blobNames(scratch)).toEqual([]);
  });

  it('take nothing of a build under way, and the folders of dead builds and of those that are being killed', async () => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    await using session = await store.openSession('x');
    const blob = await session.putBytes(Buffer.from('made so far'));
    await mkdir(scratch.file('s', 'building', 'y.999999-1-abcd-x', 'work'), { recursive: true });
    await using killed = await halfEnded();
    const { pid, startTime, bootId } = killed.identity;
    await mkdir(scratch.file('s', 'building', `z.${pid}-${startTime}-${bootId.slice(0, 8)}-x`, 'work'), {
      recursive: true,
    });
    const dead = [{ kind: 'image-build' }, { kind: 'image-build' }];
    expect(await store.collect({ dryRun: true })).toMatchObject(dead);
    expect(await store.collect()).toMatchObject(dead);
    expect(await blobNames(scratch)).toEqual([blob.sha256]);
    expect(await readdir(scratch.file('s', 'building'))).toHaveLength(1);
  });

  it('take nothing that the manifest of a later version names', async () => {
    await using scratch = await scratchDirectory();
    const store = await openStore(scratch);
    const manifest = await putImage(store, 'one', 'root one');
    await writeFile(store.manifests.pathOf('one'), JSON.stringify({ ...manifest, schemaVersion: 99 }));
    expect(store.openTrusted('one')).toBeUndefined();
    expect(await store.collect()).toEqual([]);
  });
});
