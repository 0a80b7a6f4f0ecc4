import { truncate, writeFile } from 'node:fs/promises';
import type { BootImage } from '../../ts/images/image-types.js';
import type { ImageManifest } from '../../ts/images/store/manifests.js';
import { run } from '../../ts/util/run.js';

/** An image of which only the root file system is there. */
export function imageOf(path: string, fsType: BootImage['rootfs']['fsType'], digest = 'sha256:1'): BootImage {
  const rootfs = { path, fsType };
  return { name: 'test', digest, arch: 'x86_64', kernelImagePath: '/k', initramfsPath: '/i', bootArgs: '', rootfs };
}

export function manifestOf(name: string, digest: string): ImageManifest {
  const blob = (digit: string) => ({ sha256: digit.repeat(64), size: 1 });
  const blobs = { kernel: blob('a'), modules: blob('b'), rootfs: blob('c') };
  const content = { kernelRelease: '6', bootArgs: '', fsType: 'squashfs', blobs } as const;
  return { schemaVersion: 1, name, digest, arch: 'x86_64', recipe: 'r', createdAt: 'now', ...content };
}

export async function makeExt4(path: string, sizeMib: number): Promise<void> {
  await writeFile(path, '');
  await truncate(path, sizeMib * 1024 * 1024);
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', path]);
}
