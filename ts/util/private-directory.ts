import { chmod, lstat, mkdir } from 'node:fs/promises';
import { SmartVMError } from '../errors.js';

/**
 * Makes a directory that only this user can enter (0700, whatever the umask), parents included, or takes one that is there.
 * @throws SmartVMError DIRECTORY_UNSAFE when it is a link, not a directory, or another user's
 */
export async function ensurePrivateDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
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
}
