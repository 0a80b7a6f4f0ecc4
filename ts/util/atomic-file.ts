import { chmodSync, renameSync, statfsSync, writeFileSync } from 'node:fs';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SmartVMError } from '../errors.js';
import { temporaryFor } from './temporary-file.js';

/** statfs(2). */
const TMPFS_MAGIC = 0x01021994;

/**
 * Writes a whole file so that a reader sees the old content or the new, also after a power cut:
 * temporary file, fsync, rename, fsync of the directory.
 * A program that is killed may leave the temporary file, which sweepTemporaries() knows.
 * @throws SmartVMError FILE_WRITE_FAILED; the final path is then as it was and no temporary file is left
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  const temporary = temporaryFor(path);
  try {
    if (isInMemory(dirname(path))) {
      writeFileSync(temporary, data, { flag: 'wx', mode });
      chmodSync(temporary, mode);
      renameSync(temporary, path);
      return;
    }
    // 'wx' is O_EXCL: a planted link is an error, not a target.
    await withFile(temporary, 'wx', mode, async (file) => {
      await file.writeFile(data);
      await file.chmod(mode); // the umask has no say
      await file.sync();
    });
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (cause) {
    await unlink(temporary).catch(() => undefined);
    throw new SmartVMError('FILE_WRITE_FAILED', `cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** Makes renames and unlinks in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  if (isInMemory(path)) {
    return;
  }
  await withFile(path, 'r', undefined, (directory) => directory.sync());
}

/** On a tmpfs, such as /run, there is nothing to sync to, and no call takes long enough to wait for another thread to make it. */
function isInMemory(directory: string): boolean {
  return statfsSync(directory).type === TMPFS_MAGIC;
}

async function withFile(
  path: string,
  flags: string,
  mode: number | undefined,
  use: (file: FileHandle) => Promise<unknown>,
): Promise<void> {
  const file = await open(path, flags, mode);
  try {
    await use(file);
  } finally {
    await file.close();
  }
}
