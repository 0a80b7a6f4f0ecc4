import { delay } from './deadline.js';
import { isAlive, type ProcessIdentity } from './process-identity.js';

const POLL_MS = 2;

/** Kills a process until it has ended, which may take the kernel a while. @returns false when it still lives after `ms` */
export async function endProcess(identity: ProcessIdentity, ms = Number.POSITIVE_INFINITY): Promise<boolean> {
  for (const deadline = performance.now() + ms; await isAlive(identity); await delay(POLL_MS)) {
    try {
      process.kill(identity.pid, 'SIGKILL');
    } catch {
      // It has ended in this moment; one that may not be killed is still there at the end.
    }
    if (performance.now() > deadline) {
      return false;
    }
  }
  return true;
}
