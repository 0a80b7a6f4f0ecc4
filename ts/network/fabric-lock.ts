import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { delay } from '../util/deadline.js';
import { type Holder, readHolder } from '../util/holder.js';
import { acquireLease, type Lease } from '../util/leases.js';
import { isAlive } from '../util/process-identity.js';
import { hostFolders } from './host-state.js';

const LOCK = 'fabric';
const LOCK_MS = 30_000;
const POLL_MS = 5;

/**
 * Waits until nobody changes what several VMs share. Who writes down what it will do, and then finds nobody with the lock, is seen by
 * whoever takes it next: so a change of one VM's own takes no lock, only this look.
 */
export async function whileFabricUnlocked(holder: Holder, signal?: AbortSignal): Promise<void> {
  const path = join(hostFolders().locks, LOCK);
  while (lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
    const other = await readHolder(path);
    if (other && other !== 'unknown' && !(await isAlive(other.owner))) {
      await (await takeLock(holder, signal)).release(); // it was killed over it
    }
    await delay(POLL_MS, signal);
  }
}

/** Does what concerns several VMs while nobody else does. @throws SmartVMError NETWORK_FAILED, CANCELED */
export async function withFabricLock(holder: Holder, act: () => Promise<void>, signal?: AbortSignal): Promise<void> {
  const lock = await takeLock(holder, signal);
  try {
    await act();
  } finally {
    await lock.release();
  }
}

async function takeLock(holder: Holder, signal: AbortSignal | undefined): Promise<Lease> {
  const isHeld = ({ owner }: Holder) => isAlive(owner);
  for (const deadline = performance.now() + LOCK_MS; ; await delay(POLL_MS, signal)) {
    const lease = await acquireLease({ directory: hostFolders().locks, candidates: [LOCK], holder, isHeld, signal });
    if (lease) {
      return lease;
    }
    if (performance.now() > deadline) {
      throw new SmartVMError('NETWORK_FAILED', 'another program has been changing the networks of this host for long');
    }
  }
}
