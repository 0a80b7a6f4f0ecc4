import { delay } from '../../util/deadline.js';
import { currentBootId, isAlive, type ProcessIdentity } from '../../util/process-identity.js';
import { askKeeper } from '../keeper-state.js';
import type { VmRecord } from './record.js';

/** `owned`: the program that made it lives, and sees to it; `running`: its keeper does; `dead`: proven to be neither. */
export type Standing = 'owned' | 'running' | 'dead';

/** A keeper ends its VMM within two seconds, and clears up behind it for some more at most. */
const KEEPER_END_MS = 5_000;
const POLL_MS = 10;

/** Whether a VM lives, by the identities of processes and the kernel's word on its keeper's socket; never by a file's age. */
export async function standingOf(runtimeDir: string, record: VmRecord): Promise<Standing> {
  if (record.owner.bootId !== currentBootId()) {
    return 'dead'; // nothing outlives a reboot but files
  }
  if (!record.detached && (await isAlive(record.owner))) {
    return 'owned';
  }
  if (record.detached && (await askKeeper(runtimeDir)) !== 'gone') {
    return 'running';
  }
  // A keeper without its owner ends its VM; one without its VM, itself.
  const { keeper } = record.processes ?? {};
  return (keeper === undefined || (await hasEnded(keeper))) && (await askKeeper(runtimeDir)) === 'gone'
    ? 'dead'
    : 'running';
}

async function hasEnded(keeper: ProcessIdentity): Promise<boolean> {
  for (const deadline = performance.now() + KEEPER_END_MS; ; await delay(POLL_MS)) {
    if (!(await isAlive(keeper))) {
      return true;
    }
    if (performance.now() > deadline) {
      return false;
    }
  }
}
