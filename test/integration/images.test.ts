import { chmod, cp, mkdir, open, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { defaultDataDir } from '../../ts/config/directories.js';
import { type BootImage, ImageManager, type ImageProgress } from '../../ts/images/image-manager.js';
import { perVmInitramfs } from '../../ts/images/initramfs.js';
import { createOverlayDrive } from '../../ts/images/overlay.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { run } from '../../ts/util/run.js';
import { processesNaming } from '../support/leftovers.js';
import { scratchDirectory } from '../support/scratch.js';

const BUILD_TIMEOUT_MS = 600_000;
const SHARED = join(defaultDataDir(), 'images');

/** Any static program does for an agent where none is run. */
const AGENT = '/bin/true';

let image: BootImage;

// The image that the whole run shares: built here when it is not there yet.
beforeAll(async () => {
  image = await new ImageManager({ cacheDir: SHARED }).resolve('debian');
}, BUILD_TIMEOUT_MS);

const insideRoot = async (path: string) => (await run('unsquashfs', ['-cat', image.rootfs.path, path])).toString();

/** By this process, of whatever file. */
async function bytesRead(): Promise<number> {
  return Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1]);
}

/** A copy of the shared images in a cache of a test's own, and the root file system in it. */
async function copyOfCache(cacheDir: string): Promise<string> {
  await mkdir(cacheDir, { mode: 0o700 });
  for (const folder of ['blobs', 'manifests']) {
    await cp(join(SHARED, folder), join(cacheDir, folder), { recursive: true, preserveTimestamps: true });
  }
  return join(cacheDir, 'blobs', 'sha256', basename(image.rootfs.path));
}

describe.runIf(process.arch === 'x64')('the debian image', () => {
  it('has an ELF kernel and a squashfs root with packages and modules, all read-only in a private folder', async () => {
    const kernel = await readFile(image.kernelImagePath);
    expect(kernel.toString('latin1', 0, 4)).toBe('\x7fELF');
    expect((await readFile(image.rootfs.path)).toString('latin1', 0, 4)).toBe('hsqs');
    const files = [image.kernelImagePath, image.initramfsPath, image.rootfs.path];
    const modes = await Promise.all([...files, dirname(image.rootfs.path), SHARED].map((path) => stat(path)));
    expect(modes.map(({ mode }) => mode & 0o777)).toEqual([0o444, 0o444, 0o444, 0o700, 0o700]);
    expect(await insideRoot('usr/lib/os-release')).toContain('VERSION_CODENAME=bookworm');
    const packages = await insideRoot('var/lib/dpkg/status');
    expect(['ca-certificates', 'iproute2', 'apt'].filter((name) => !packages.includes(`Package: ${name}\n`))).toEqual(
      [],
    );
    const release = /Linux version (\S+)/.exec(kernel.toString('latin1'))?.[1];
    expect(await insideRoot(`usr/lib/modules/${release}/modules.dep`)).toMatch(/^kernel\/fs\/fuse\/fuse\.ko:/m);
  });

  it('has no trace of the build or of the host', async () => {
    const listing = (await run('unsquashfs', ['-lln', '-dest', '', image.rootfs.path])).toString();
    const below = (folder: string) => listing.split('\n').filter((line) => line.includes(` /${folder}/`));
    expect(below('var/lib/apt/lists').filter((line) => line.startsWith('-') && !line.endsWith('/lock'))).toEqual([]);
    expect(below('var/cache/apt').filter((line) => line.startsWith('-') && !line.endsWith('/lock'))).toEqual([]);
    expect(
      below('var/log').filter(
        (line) => line.startsWith('-') && !/ 0 \d{4}-/.test(line) && !/(last|fail|tally|w|b)(log|tmp)$/.test(line),
      ),
    ).toEqual([]);
    expect(below('tmp')).toEqual([]);
    expect(below('usr/bin').length).toBeGreaterThan(100);
    expect(listing).not.toMatch(/\/etc\/apt\/apt\.conf\.d\/99mmdebstrap/);
    expect(await insideRoot('etc/resolv.conf')).toBe('');
    expect(await insideRoot('etc/hostname')).toBe('localhost\n');
    expect(await insideRoot('etc/apt/sources.list')).not.toMatch(/nodesource|google/);
  });

  it('is resolved from the cache without being read', async () => {
    const manager = new ImageManager({ cacheDir: SHARED });
    const sizeBytes = (await stat(image.rootfs.path)).size;
    const before = await bytesRead();
    for (let round = 0; round < 20; round++) {
      expect(await manager.resolve('debian')).toEqual(image);
    }
    expect((await bytesRead()) - before).toBeLessThan(sizeBytes / 2);
  });

  it('is hashed again where its files have been touched, and trusted when the bytes are right', async () => {
    await using scratch = await scratchDirectory();
    await copyOfCache(scratch.file('cache'));
    const manager = new ImageManager({ cacheDir: scratch.file('cache'), agentPath: AGENT });
    const messages: ImageProgress[] = [];
    const copy = await manager.resolve('debian', { onProgress: (progress) => messages.push(progress) });
    expect(copy.digest).toBe(image.digest);
    expect(messages).toEqual([]);
  });

  it('is built again, not given, when a byte of it has flipped; a canceled build leaves nothing', async () => {
    await using scratch = await scratchDirectory();
    const cacheDir = scratch.file('cache');
    const root = await copyOfCache(cacheDir);
    await chmod(root, 0o600);
    const file = await open(root, 'r+');
    await file.write(Buffer.from('X'), 0, 1, 100_000_000);
    await file.close();
    await chmod(root, 0o444);
    const canceled = new AbortController();
    const onProgress = ({ message }: ImageProgress) => message.startsWith('running apt-get update') && canceled.abort();
    const manager = new ImageManager({ cacheDir, agentPath: AGENT });
    const resolving = manager.resolve('debian', { signal: canceled.signal, onProgress });
    await expect(resolving).rejects.toMatchObject({ code: 'CANCELED' });
    expect(await readdir(join(cacheDir, 'building'))).toEqual([]);
    expect(await readdir(join(cacheDir, 'blobs', 'corrupt'))).toEqual([basename(root)]);
    expect(await manager.has('debian')).toBe(false);
    expect(await processesNaming(cacheDir)).toEqual([]);
  });

  it('has modules that all load in the order of the list, in a real guest, with its own config and layer', async () => {
    await using scratch = await scratchDirectory();
    await run('gcc', [
      '-static',
      '-O1',
      '-o',
      scratch.file('init'),
      join(PACKAGE_ROOT, 'test/fixtures/load-modules.c'),
    ]);
    await copyOfCache(scratch.file('cache'));
    const manager = new ImageManager({ cacheDir: scratch.file('cache'), agentPath: scratch.file('init') });
    const { kernelImagePath, initramfsPath, rootfs, bootArgs } = await manager.resolve('debian');
    await perVmInitramfs(initramfsPath, scratch.file('initramfs'), { id: 'test' });
    await createOverlayDrive(scratch.file('cache'), scratch.file('layer'), 512);
    const drive = (id: string, path: string, readOnly: string) => [
      ...['-drive', `if=none,id=${id},file=${path},format=raw,readonly=${readOnly}`],
      ...['-device', `virtio-blk-pci,drive=${id}`],
    ];
    const output = await run('qemu-system-x86_64', [
      ...[
        '-M',
        'q35',
        '-bios',
        'qboot.rom',
        '-accel',
        'tcg',
        '-m',
        '256',
        '-nodefaults',
        '-no-reboot',
        '-display',
        'none',
      ],
      ...['-serial', 'stdio', '-kernel', kernelImagePath, '-initrd', scratch.file('initramfs'), '-append', bootArgs],
      ...drive('root', rootfs.path, 'on'),
      ...drive('layer', scratch.file('layer'), 'off'),
    ]);
    const lines = output.toString().split(/\r?\n/);
    const modules = lines.filter((line) => line.startsWith('module '));
    expect(modules.filter((line) => !line.endsWith(': ok'))).toEqual([]);
    expect(modules).toEqual(expect.arrayContaining(['module virtio_pci.ko: ok', 'module overlay.ko: ok']));
    expect(lines).toContain('mount /dev/vda squashfs: ok');
    expect(lines).toContain('mount /dev/vdb ext4: ok');
    expect(lines).toContain('config: there');
    expect(lines).toContain('done');
  });

  it('says what forms a name can have when asked for another', async () => {
    const manager = new ImageManager({ cacheDir: SHARED });
    expect(await manager.list()).toContainEqual(expect.objectContaining({ name: 'debian', digest: image.digest }));
    for (const name of ['debain', '../x', '__proto__', 'constructor', '']) {
      const error = await manager.resolve(name).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'IMAGE_UNKNOWN', message: expect.stringContaining('debian') });
    }
  });

  it('says how to get an agent where there is none', async () => {
    const manager = new ImageManager({ cacheDir: SHARED, agentPath: '/nowhere/agent' });
    await expect(manager.resolve('debian')).rejects.toMatchObject({
      code: 'IMAGE_BUILD_FAILED',
      message: expect.stringContaining('npm run build'),
    });
  });
});
