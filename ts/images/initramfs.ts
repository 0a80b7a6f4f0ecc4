import { constants } from 'node:fs';
import { chmod, copyFile, open, rm } from 'node:fs/promises';
import { SmartVMError } from '../errors.js';
import { type CpioEntry, cpioArchive, cpioMember, cpioTrailer, padding, parentDirectories } from './cpio.js';
import type { LoadableModule } from './kernel-modules.js';

/** Raised with every change to what the functions here write, so that caches made by another version are not used. */
export const INITRAMFS_VERSION = 1;

/** The part of an initramfs that depends on the kernel alone: members (no trailer) for its modules and their list. */
export function moduleMembers(modules: readonly LoadableModule[]): Buffer {
  const list = modules.map(({ name, path, depends, aliases }) => ({ name, path, depends, aliases }));
  const files: CpioEntry[] = [
    { name: 'smartvm/modules.json', type: 'file', mode: 0o644, data: Buffer.from(JSON.stringify(list)) },
    ...modules.map(({ path, data }): CpioEntry => ({ name: path.slice(1), type: 'file', mode: 0o644, data })),
  ];
  // The kernel opens /dev/console for init before init runs.
  const device: CpioEntry = { name: 'dev/console', type: 'character', mode: 0o600, major: 5, minor: 1 };
  const entries = [...parentDirectories([device.name, ...files.map(({ name }) => name)]), device, ...files];
  return Buffer.concat(entries.map((entry, index) => cpioMember(entry, index + 2)));
}

/** A whole initramfs: the agent as `/init`, then {@link moduleMembers}. */
export function initramfs(agent: Uint8Array, modules: Uint8Array): Buffer {
  const init = cpioMember({ name: 'init', type: 'file', mode: 0o755, data: agent }, 1);
  return Buffer.concat([init, modules, cpioTrailer()]);
}

/**
 * A VM's own initramfs: a copy of the cached one, and behind it an archive with `/smartvm/config.json`. The file is 0600: the config has keys.
 * @throws SmartVMError FILE_WRITE_FAILED when the target exists or cannot be written; it is then not left behind half-written
 */
export async function perVmInitramfs(basePath: string, targetPath: string, config: unknown): Promise<void> {
  const data = Buffer.from(JSON.stringify(config));
  const own = cpioArchive([
    { name: 'smartvm', type: 'directory', mode: 0o755 },
    { name: 'smartvm/config.json', type: 'file', mode: 0o600, data },
  ]);
  let made = false;
  try {
    await copyFile(basePath, targetPath, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    made = true;
    await chmod(targetPath, 0o600); // the copy has the read-only mode of the cached file
    const file = await open(targetPath, 'a');
    try {
      const { size } = await file.stat();
      await file.appendFile(Buffer.concat([padding(size), own]));
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (made) {
      await rm(targetPath, { force: true });
    }
    throw new SmartVMError('FILE_WRITE_FAILED', `cannot write ${targetPath}: ${(cause as Error).message}`, { cause });
  }
}
