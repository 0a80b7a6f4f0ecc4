import { open, rm } from 'node:fs/promises';
import { SmartVMError } from '../errors.js';
import { run } from '../util/run.js';

/**
 * Copies a file to a path where nothing is: by reflink where the file system can, else sparse. The copy is 0600 from the start.
 * @throws SmartVMError FILE_WRITE_FAILED, TOOL_FAILED, TOOL_MISSING, CANCELED; no half a copy is left
 */
export async function cloneFile(source: string, target: string, signal?: AbortSignal): Promise<void> {
  try {
    // Made by us, with O_EXCL, before cp fills it: a planted link is an error, not a target.
    const file = await open(target, 'wx', 0o600);
    await file.close();
  } catch (cause) {
    throw new SmartVMError('FILE_WRITE_FAILED', `cannot make ${target}: ${(cause as Error).message}`, { cause });
  }
  try {
    await run('cp', ['--sparse=auto', '--reflink=auto', '--', source, target], { signal });
  } catch (error) {
    await rm(target, { force: true });
    throw error;
  }
}
