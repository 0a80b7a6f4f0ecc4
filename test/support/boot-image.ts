import { truncate, writeFile } from 'node:fs/promises';
import type { BootImage } from '../../ts/images/image-types.js';
import { run } from '../../ts/util/run.js';

/** An image of which only the root file system is there. */
export function imageOf(path: string, fsType: BootImage['rootfs']['fsType'], digest = 'sha256:1'): BootImage {
  const rootfs = { path, fsType };
  return { name: 'test', digest, arch: 'x86_64', kernelImagePath: '/k', initramfsPath: '/i', bootArgs: '', rootfs };
}

export async function makeExt4(path: string, sizeMib: number): Promise<void> {
  await writeFile(path, '');
  await truncate(path, sizeMib * 1024 * 1024);
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', path]);
}
