import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { defaultDataDir } from '../../ts/config/directories.js';
import { type BootImage, ImageManager } from '../../ts/images/image-manager.js';
import { SmartVM } from '../../ts/smartvm.js';
import { run } from '../../ts/util/run.js';
import { rangeServer } from '../support/range-server.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';

const BUILD_TIMEOUT_MS = 600_000;
const images = new ImageManager({ cacheDir: join(defaultDataDir(), 'images') });

let debian: BootImage;

beforeAll(async () => {
  debian = await images.resolve('debian');
}, BUILD_TIMEOUT_MS);

/** A manifest of Debian's kernel, which is a part that the store has, and a root file system made here. */
async function manifestOf(scratch: ScratchDirectory, issue: string): Promise<string> {
  const root = scratch.file('root');
  for (const folder of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp', 'run']) {
    await mkdir(join(root, folder), { recursive: true });
  }
  const source =
    '#include <stdio.h>\nint main(void) { int c; FILE *f = fopen("/etc/issue", "r"); while ((c = getc(f)) != EOF) putchar(c); }';
  await run('gcc', ['-static', '-O1', '-x', 'c', '-o', join(root, 'bin/issue'), '-'], { input: source });
  await writeFile(join(root, 'etc/issue'), issue);
  await run('mksquashfs', [root, scratch.file('root.squashfs'), '-noappend', '-quiet', '-no-progress']);
  const manifest = {
    ...{ schemaVersion: 1, bundleId: 'mine', arch: debian.arch, firecrackerVersion: 'v1.16.1' },
    ...{ rootfsType: 'squashfs', bootArgs: debian.bootArgs },
    kernel: { path: debian.kernelImagePath },
    rootfs: { path: 'root.squashfs' },
  };
  await writeFile(scratch.file('manifest.json'), JSON.stringify(manifest));
  return scratch.file('manifest.json');
}

describe.runIf(process.arch === 'x64')('an image of a manifest', () => {
  it('boots, its kernel shared with the image that has its modules; is held while the VM has it', async () => {
    await using scratch = await scratchDirectory();
    const path = await manifestOf(scratch, 'made by a test\n');
    await mkdir(scratch.file('run'), { mode: 0o700 });
    await using smartvm = new SmartVM({ runtimeDir: scratch.file('run'), vmm: 'qemu' });
    const { imageManager } = smartvm;
    try {
      const vm = await smartvm.launch({ image: path });
      expect((await vm.exec(['/bin/issue'])).stdout).toBe('made by a test\n');
      expect(imageManager.inspect(path)?.blobs.kernel).toEqual(imageManager.inspect('debian')?.blobs.kernel);
      await expect(imageManager.remove(path)).rejects.toMatchObject({
        code: 'IMAGE_IN_USE',
        details: { vms: expect.arrayContaining([vm.id]) },
      });
      await vm.stop();
      const first = imageManager.inspect(path)?.digest;
      await manifestOf(scratch, 'made by a test again\n');
      await imageManager.resolve(path);
      expect(imageManager.inspect(path)?.digest).not.toBe(first);
    } finally {
      await imageManager.remove(path);
    }
    expect(await images.verify('debian')).toEqual([]);
  });

  it('is fetched from a server into the store, a part that is there already is not', async () => {
    await using scratch = await scratchDirectory();
    const content = Buffer.from('a root file system');
    await using artifacts = await rangeServer(content);
    await writeFile(scratch.file('kernel'), 'Linux version 6.1.99-test (somebody) made by a test');
    const { createHash } = await import('node:crypto');
    const artifact = { url: artifacts.url('/a'), sha256: createHash('sha256').update(content).digest('hex') };
    const manifest = {
      ...{ schemaVersion: 1, bundleId: 'mine', arch: debian.arch, firecrackerVersion: 'v1.16.1' },
      ...{ rootfsType: 'squashfs', kernel: { ...artifact, fileName: 'k' }, rootfs: artifact },
    };
    await using manifests = await rangeServer(Buffer.from(JSON.stringify(manifest)));
    const manager = new ImageManager({ cacheDir: scratch.file('store') });
    const name = `hosted:${manifests.url('/m.json')}`;
    const { rootfs, kernelImagePath } = await manager.resolve(name);
    expect(await readFile(rootfs.path, 'utf8')).toBe('a root file system');
    expect(kernelImagePath).toBe(rootfs.path);
    expect(artifacts.requests).toHaveLength(1);
    const asked = manifests.requests.length;
    await manager.resolve(name);
    expect(manifests.requests).toHaveLength(asked);
    await manager.resolve(name, { refresh: true });
    expect(manifests.requests.length).toBeGreaterThan(asked);
    expect(artifacts.requests).toHaveLength(1);
  });

  it('is unknown when there is no such file', async () => {
    await expect(images.resolve('./nowhere/manifest.json')).rejects.toMatchObject({ code: 'IMAGE_UNKNOWN' });
  });
});
