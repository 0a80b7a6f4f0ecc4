import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { delay, throwIfCanceled } from '../util/deadline.js';
import { type Holder, readHolder } from '../util/holder.js';
import { acquireLease, type Lease } from '../util/leases.js';
import { currentProcess, isAlive } from '../util/process-identity.js';
import { hostFolders } from './host-state.js';

const LOCK = 'fabric';
const LOCK_MS = 30_000;
const POLL_MS = 5;

/**
 * Waits until nobody changes what several VMs share. Who writes down what it will do, and then finds nobody with the lock, is seen by
 * whoever takes it next: so a change of one VM's own takes no lock, only this look.
 * @throws SmartVMError NETWORK_FAILED, CANCELED
 */
export async function whileFabricUnlocked(signal?: AbortSignal): Promise<void> {
  await poll(async () => ((await lockStanding()) === 'held' ? undefined : true), signal);
}

/** Does what concerns several VMs while nobody else does. @throws SmartVMError NETWORK_FAILED, CANCELED */
export async function withFabricLock<T>(act: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const lock = await poll(tryLock, signal);
  try {
    return await act();
  } finally {
    await lock.release();
  }
}

/** The lock is this program's, whosever VM it is taken for: that one's own may be dead. */
async function tryLock(): Promise<Lease | undefined> {
  if ((await lockStanding()) === 'held') {
    return undefined; // without the trouble that a lease takes to find that out
  }
  const holder = { id: LOCK, runtimeDir: '', owner: currentProcess() };
  return await acquireLease({ directory: hostFolders().locks, candidates: [LOCK], holder, isHeld });
}

/** `dead`: whoever had it was killed over what it changed, and does nothing more. */
async function lockStanding(): Promise<'free' | 'held' | 'dead'> {
  const holder = await readHolder(join(hostFolders().locks, LOCK));
  if (holder === undefined) {
    return 'free';
  }
  return holder === 'unknown' || (await isHeld(holder)) ? 'held' : 'dead';
}

async function isHeld({ owner }: Holder): Promise<boolean> {
  return await isAlive(owner);
}

async function poll<T>(ask: () => Promise<T | undefined>, signal: AbortSignal | undefined): Promise<T> {
  for (const deadline = performance.now() + LOCK_MS; ; await delay(POLL_MS, signal)) {
    throwIfCanceled(signal, 'waiting for the networks of this host');
    const answer = await ask();
    if (answer !== undefined) {
      return answer;
    }
    if (performance.now() > deadline) {
      throw new SmartVMError('NETWORK_FAILED', 'another program has been changing the networks of this host for long');
    }
  }
}
