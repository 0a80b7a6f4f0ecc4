import { lstatSync } from 'node:fs';
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
  if (stateOf(directory) === undefined || stateOf(directory) !== CHECKED.get(directory)) {
    for (const path of [runtimeRoot, leases, directory]) {
      await ensurePrivateDirectory(path);
    }
    CHECKED.set(directory, stateOf(directory));
  }
  return directory;
}

/** Directories that were found private, and as what: every start of a VM asks. */
const CHECKED = new Map<string, string | undefined>();

function stateOf(path: string): string | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat && [stat.dev, stat.ino, stat.mode, stat.uid].join(':');
}
