import { dirname, join } from 'node:path';
import { defaultRuntimeDir } from '../config/directories.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';

/** What leases are of. Names are those of one runtime directory, the rest of all of them. */
type LeaseKind = 'uid' | 'capacity' | 'name';

/** Where the leases of one kind are, if there are any. */
export function leaseDirectory(kind: LeaseKind, runtimeRoot: string): string {
  return join(runtimeRoot, '.leases', kind);
}

/**
 * The directory of one kind of leases, made where it is absent. By default it is the same for all programs of this user, wherever
 * they have their VMs.
 * @param runtimeRoot default: {@link defaultRuntimeDir}, whatever `runtimeDir` says
 * @throws SmartVMError DIRECTORY_UNSAFE, FILE_WRITE_FAILED
 */
export async function openLeaseDirectory(kind: LeaseKind, runtimeRoot: string = defaultRuntimeDir()): Promise<string> {
  const directory = leaseDirectory(kind, runtimeRoot);
  for (const path of [runtimeRoot, dirname(directory), directory]) {
    await ensurePrivateDirectory(path);
  }
  return directory;
}
