import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { BaseImageManager } from '../../../ts/images/base-image-manager.js';
import type { IBaseImageHostedManifest } from '../../../ts/images/base-image-types.js';
import { run } from '../../../ts/util/run.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const KERNEL = Buffer.from('the kernel');
const ROOTFS = Buffer.alloc(3_000_000, 'root file system ');
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

interface Setup {
  scratch: ScratchDirectory;
  manager: BaseImageManager;
  manifestPath: string;
}

async function setUp(scratch: ScratchDirectory, changes: Partial<IBaseImageHostedManifest> = {}): Promise<Setup> {
  await writeFile(scratch.file('vmlinux'), KERNEL);
  await writeFile(scratch.file('root.img'), ROOTFS);
  const manifest = {
    schemaVersion: 1,
    bundleId: 'test',
    arch: 'x86_64',
    firecrackerVersion: 'v1.15.1',
    rootfsType: 'squashfs',
    kernel: { path: 'vmlinux', sha256: sha256(KERNEL), sizeBytes: KERNEL.length },
    rootfs: { path: 'root.img', sha256: sha256(ROOTFS) },
    ...changes,
  };
  const manifestPath = scratch.file('manifest.json');
  await writeFile(manifestPath, JSON.stringify(manifest));
  const manager = new BaseImageManager({ cacheDir: scratch.file('cache'), arch: 'x86_64' });
  return { scratch, manager, manifestPath };
}

/** The bundles of the cache, and what is left of making some. */
const cached = async (scratch: ScratchDirectory) =>
  (await readdir(scratch.file('cache'))).filter((name) => !/^\.(locks|users|parts|presets)$/.test(name));

async function flipByte(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
  await file.write(Buffer.from([buffer.readUInt8(0) ^ 1]), 0, 1, at);
  await file.close();
}

afterEach(() => vi.restoreAllMocks());

describe('BaseImageManager.ensureBaseImage', () => {
  it('copies, verifies and describes a bundle, read-only where the root is squashfs', async () => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch);
    const bundle = await manager.ensureBaseImage({ manifestPath });
    expect(bundle).toMatchObject({
      preset: 'hosted',
      bundleDir: scratch.file('cache', 'test'),
      rootfsIsReadOnly: true,
      bootArgs: 'console=ttyS0 reboot=k panic=1 pci=off',
      checksums: { kernelSha256: sha256(KERNEL), rootfsSha256: sha256(ROOTFS) },
    });
    expect((await readFile(bundle.rootfsPath)).equals(ROOTFS)).toBe(true);
    expect((await stat(bundle.kernelImagePath)).mode & 0o777).toBe(0o600);
    expect((await stat(scratch.file('cache'))).mode & 0o777).toBe(0o700);
    expect(await cached(scratch)).toEqual(['test']);
  });

  it('uses the cached bundle while its bytes are right, without its source, whatever has touched it', async () => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch);
    const first = await manager.ensureBaseImage({ manifestPath });
    const { ino } = await stat(first.rootfsPath);
    await utimes(first.rootfsPath, 1, 1);
    await rm(scratch.file('root.img'));
    const second = await manager.ensureBaseImage({ manifestPath });
    expect((await stat(second.rootfsPath)).ino).toBe(ino);
    expect(second.createdAt).toBe(first.createdAt);
    expect(Date.parse(second.lastAccessedAt)).toBeGreaterThanOrEqual(Date.parse(first.lastAccessedAt));
  });

  it('copies again when one byte of a cached file has flipped, its times set back', async () => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch);
    const { rootfsPath } = await manager.ensureBaseImage({ manifestPath });
    const { atime, mtime } = await stat(rootfsPath);
    await flipByte(rootfsPath, 1_500_000);
    await utimes(rootfsPath, atime, mtime);
    await manager.ensureBaseImage({ manifestPath });
    expect((await readFile(rootfsPath)).equals(ROOTFS)).toBe(true);
  });

  it('serves no damaged cache when the source is gone', async () => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch);
    const { rootfsPath } = await manager.ensureBaseImage({ manifestPath });
    await flipByte(rootfsPath, 7);
    await rm(scratch.file('root.img'));
    await expect(manager.ensureBaseImage({ manifestPath })).rejects.toMatchObject({
      code: 'BASE_IMAGE_ARTIFACT_FAILED',
    });
  });

  it('copies again when an artifact without a checksum has another source, or the manifest asks for something else', async () => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch, { kernel: { path: 'vmlinux' } });
    const { kernelImagePath } = await manager.ensureBaseImage({ manifestPath });
    await writeFile(scratch.file('vmlinux'), 'a new kernel');
    await manager.ensureBaseImage({ manifestPath });
    expect(await readFile(kernelImagePath, 'utf8')).toBe('a new kernel');
    await setUp(scratch, { bootArgs: 'quiet' });
    expect((await manager.ensureBaseImage({ manifestPath })).bootArgs).toBe('quiet');
  });

  it.each([
    ['a wrong checksum', { rootfs: { path: 'root.img', sha256: 'b'.repeat(64) } }],
    ['a wrong size', { rootfs: { path: 'root.img', sizeBytes: 5 } }],
    ['a file that is not there', { rootfs: { path: 'none' } }],
    ['a folder', { rootfs: { path: 'cache' } }],
    ['a link', { rootfs: { path: 'link' } }],
    ['a FIFO', { rootfs: { path: 'fifo' } }],
    ['a device', { rootfs: { path: '/dev/zero' } }],
    ['a file of 1 PiB', { rootfs: { path: 'huge' } }],
    ['a URL', { rootfs: { url: 'http://127.0.0.1:1/root.img', sha256: 'b'.repeat(64) } }],
  ])('refuses %s, and leaves nothing in the cache', async (_name, changes) => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch, changes);
    await mkdir(scratch.file('cache'));
    await symlink('root.img', scratch.file('link'));
    await run('mkfifo', [scratch.file('fifo')]);
    await run('truncate', ['--size=15T', scratch.file('huge')]);
    await expect(manager.ensureBaseImage({ manifestPath })).rejects.toMatchObject({
      code: 'BASE_IMAGE_ARTIFACT_FAILED',
    });
    expect(await cached(scratch)).toEqual([]);
  });

  it('keeps the cached bundle when its replacement fails', async () => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch);
    const { rootfsPath } = await manager.ensureBaseImage({ manifestPath });
    await setUp(scratch, { rootfs: { path: 'root.img', sha256: 'b'.repeat(64) } });
    await expect(manager.ensureBaseImage({ manifestPath })).rejects.toMatchObject({
      code: 'BASE_IMAGE_ARTIFACT_FAILED',
    });
    expect((await readFile(rootfsPath)).equals(ROOTFS)).toBe(true);
  });

  it('refuses a link in place of a cached bundle', async () => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch);
    await manager.ensureBaseImage({ manifestPath });
    await rm(scratch.file('cache', 'test'), { recursive: true });
    await mkdir(scratch.file('elsewhere'));
    await symlink(scratch.file('elsewhere'), scratch.file('cache', 'test'));
    await expect(manager.ensureBaseImage({ manifestPath })).rejects.toMatchObject({ code: 'DIRECTORY_UNSAFE' });
    expect(await readdir(scratch.file('elsewhere'))).toEqual([]);
  });

  it('gives many callers at once one bundle, and clears what a dead one left', async () => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch);
    await mkdir(scratch.file('cache', '.test.building-dead'), { recursive: true });
    const bundles = await Promise.all(Array.from({ length: 5 }, () => manager.ensureBaseImage({ manifestPath })));
    expect(new Set(bundles.map(({ createdAt }) => createdAt)).size).toBe(1);
    expect(await cached(scratch)).toEqual(['test']);
  });

  it('ends on an aborted signal', async () => {
    await using scratch = await scratchDirectory();
    const { manager, manifestPath } = await setUp(scratch);
    const signal = AbortSignal.abort();
    await expect(manager.ensureBaseImage({ manifestPath, signal })).rejects.toMatchObject({ code: 'CANCELED' });
  });

  it.each([
    [{ preset: 'latest' }, 'BASE_IMAGE_ARTIFACT_FAILED'],
    [{ preset: 'lts' }, 'BASE_IMAGE_ARTIFACT_FAILED'],
    [{}, 'BASE_IMAGE_ARTIFACT_FAILED'],
    [{ preset: 'hosted' }, 'BASE_IMAGE_MANIFEST_FAILED'],
    [{ manifestUrl: 'http://127.0.0.1:1/m.json' }, 'BASE_IMAGE_MANIFEST_FAILED'],
  ] as const)('says of %j that nothing answers, and makes nothing', async (options, code) => {
    await using scratch = await scratchDirectory();
    const manager = new BaseImageManager({ cacheDir: scratch.file('cache'), bucketUrl: 'http://127.0.0.1:1/bucket' });
    await expect(manager.ensureBaseImage(options)).rejects.toMatchObject({ code });
    expect(await readdir(scratch.path)).toEqual([]);
  });

  it('evicts the bundle used longest ago once there are too many', async () => {
    await using scratch = await scratchDirectory();
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const { manager, manifestPath } = await setUp(scratch, { bundleId: 'one' });
    await manager.ensureBaseImage({ manifestPath });
    await setUp(scratch, { bundleId: 'two' });
    await manager.ensureBaseImage({ manifestPath });
    await setUp(scratch, { bundleId: 'one' });
    await manager.ensureBaseImage({ manifestPath }); // used again: now `two` is the oldest
    await setUp(scratch, { bundleId: 'three' });
    await manager.ensureBaseImage({ manifestPath });
    expect((await cached(scratch)).sort()).toEqual(['one', 'three']);
    expect(warn).toHaveBeenCalledOnce();
  });
});

describe('BaseImageManager.pruneBaseImageCache', () => {
  it('never takes a bundle that the record of a VM names', async () => {
    await using scratch = await scratchDirectory();
    vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const { manifestPath } = await setUp(scratch, { bundleId: 'one' });
    const [cacheDir, runtimeDir] = [scratch.file('cache'), scratch.file('run')];
    const manager = new BaseImageManager({ cacheDir, runtimeDir, arch: 'x86_64', maxStoredBaseImages: 1 });
    const { rootfsPath } = await manager.ensureBaseImage({ manifestPath });
    await mkdir(scratch.file('run', 'web'), { recursive: true });
    await writeFile(scratch.file('run', 'web', 'vm.json'), JSON.stringify({ drives: [{ pathOnHost: rootfsPath }] }));
    await setUp(scratch, { bundleId: 'two' });
    await manager.ensureBaseImage({ manifestPath });
    expect(await cached(scratch)).toEqual(['one', 'two']);
    await rm(scratch.file('run', 'web'), { recursive: true });
    expect(await manager.pruneBaseImageCache('two')).toEqual(['one']);
  });

  it('never follows a link and never takes what is not a bundle', async () => {
    await using scratch = await scratchDirectory();
    vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const manager = new BaseImageManager({ cacheDir: scratch.file('cache'), maxStoredBaseImages: 1 });
    await mkdir(scratch.file('cache', 'notes'), { recursive: true });
    await writeFile(scratch.file('cache', 'notes', 'text'), 'mine');
    await mkdir(scratch.file('outside'));
    await writeFile(
      scratch.file('outside', 'manifest.json'),
      '{"bundleId":"link","lastAccessedAt":"2020-01-01T00:00:00Z"}',
    );
    await symlink(scratch.file('outside'), scratch.file('cache', 'link'));
    expect(await manager.pruneBaseImageCache('none')).toEqual([]);
    expect((await cached(scratch)).sort()).toEqual(['link', 'notes']);
  });

  it('finds nothing to do where there is no cache', async () => {
    await using scratch = await scratchDirectory();
    expect(await new BaseImageManager({ cacheDir: scratch.file('none') }).pruneBaseImageCache('x')).toEqual([]);
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses to keep %s bundles', (maxStoredBaseImages) => {
    expect(() => new BaseImageManager({ maxStoredBaseImages })).toThrow(
      expect.objectContaining({ code: 'INVALID_BASE_IMAGE_CACHE_LIMIT' }),
    );
  });
});
