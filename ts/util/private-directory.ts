import { lstatSync } from 'node:fs';
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SmartVMError } from '../errors.js';

/**
 * Makes a directory that only this user can enter (0700, whatever the umask), parents included, or takes one that is there.
 * @throws SmartVMError DIRECTORY_UNSAFE when it is a link, not a directory, or another user's; FILE_WRITE_FAILED
 */
export async function ensurePrivateDirectory(directory: string): Promise<void> {
  const path = resolve(directory); // without the slash at the end behind which lstat(2) would follow a link
  const state = stateOf(path);
  if (state !== undefined && state === FOUND_PRIVATE.get(path)) {
    return;
  }
  await mkdir(path, { recursive: true, mode: 0o700 }).catch(async (cause: NodeJS.ErrnoException) => {
    // What is there, and is no directory, is judged below.
    if (!(await lstat(path).catch(() => undefined))) {
      throw new SmartVMError('FILE_WRITE_FAILED', `cannot make the directory ${path}: ${cause.message}`, { cause });
    }
  });
  const stat = await lstat(path);
  if (!stat.isDirectory()) {
    throw new SmartVMError('DIRECTORY_UNSAFE', `${path} is not a directory (a link is not followed); remove it`);
  }
  const uid = process.getuid?.();
  if (stat.uid !== uid) {
    throw new SmartVMError(
      'DIRECTORY_UNSAFE',
      `${path} belongs to uid ${stat.uid}, not to uid ${uid}; remove it or name another directory`,
    );
  }
  if ((stat.mode & 0o777) !== 0o700) {
    await chmod(path, 0o700);
  }
  FOUND_PRIVATE.set(path, stateOf(path));
}

/** Directories as they were when they were found private: every start of a VM asks for some. */
const FOUND_PRIVATE = new Map<string, string | undefined>();

function stateOf(path: string): string | undefined {
  try {
    const { dev, ino, mode, uid } = lstatSync(path);
    return [dev, ino, mode, uid].join(':');
  } catch {
    return undefined; // it is to be made, or the making says what is wrong
  }
}
