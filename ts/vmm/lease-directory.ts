import { join } from 'node:path';
import { defaultRuntimeDir } from '../config/directories.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';

/**
 * The directory of one kind of leases, made where it is absent. It is the same for all programs of this user, wherever they
 * have their VMs.
 * @param runtimeRoot default: {@link defaultRuntimeDir}, whatever `runtimeDir` says
 * @throws SmartVMError DIRECTORY_UNSAFE, FILE_WRITE_FAILED
 */
export async function openLeaseDirectory(
  kind: 'uid' | 'capacity',
  runtimeRoot: string = defaultRuntimeDir(),
): Promise<string> {
  const leases = join(runtimeRoot, '.leases');
  const directory = join(leases, kind);
  for (const path of [runtimeRoot, leases, directory]) {
    await ensurePrivateDirectory(path);
  }
  return directory;
}
