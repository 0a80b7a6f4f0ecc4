import { chmodSync, chownSync, lchownSync, lstatSync, readdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SmartVMError } from '../../errors.js';

// Each start of a VM comes by here: to wait for another thread to make these calls takes longer than they do.

/** What was made for the VMM in its folder becomes its own. */
export async function ownEntries(folder: string, uid: number): Promise<void> {
  for (const name of readdirSync(folder)) {
    lchownSync(join(folder, name), uid, uid);
  }
}

/**
 * From here on the VMM makes nothing new where the host connects; and what it has made until now, possibly taken over by a snapshot,
 * is what it should be: no link to elsewhere under the name of a socket.
 * @throws SmartVMError JAIL_FAILED
 */
export async function seal(folder: string, uid: number): Promise<void> {
  chownSync(folder, 0, 0);
  chmodSync(folder, 0o711);
  for (const name of readdirSync(folder)) {
    const found = lstatSync(join(folder, name));
    const isPlain = found.isSocket() || found.isFIFO() || found.isFile();
    if (!isPlain || found.nlink !== 1 || found.uid !== uid || (SOCKET.test(name) && !found.isSocket())) {
      throw new SmartVMError('JAIL_FAILED', `the VMM has put something else in the place of ${join(folder, name)}`);
    }
  }
}

const SOCKET = /\.sock$/;

/**
 * A VMM makes its vsock socket, so the folder of it is the VMM's to write to. It must hold nothing else.
 * @throws SmartVMError JAIL_PATH_UNREADABLE
 */
export async function assertSocketsOnly(path: string): Promise<void> {
  const folder = dirname(path);
  const names = await readdir(folder).catch(() => []); // of one that is not there, the VMM says so
  const other = names.find((name) => name !== basename(path) && !name.startsWith(`${basename(path)}_`));
  if (other !== undefined) {
    throw new SmartVMError(
      'JAIL_PATH_UNREADABLE',
      `the folder of the vsock socket ${path} holds ${other}, which a jailed VMM could change; give the socket a folder of its own`,
    );
  }
}
