import { join } from 'node:path';
import { delay } from '../util/deadline.js';
import { MAX_SOCKET_PATH_BYTES } from '../util/socket-path.js';
import { getUnixJson } from '../util/unix-json.js';
import type { VmStatus } from './registry/state.js';

/** What a keeper says of its VM. */
export interface KeeperState {
  readonly id: string;
  readonly state: 'running' | 'exited';
  readonly keeperPid: number;
  readonly keeperStartTime: string;
  readonly vmmPid: number;
  readonly vmmStartTime: string;
  readonly bootId: string;
  /** Null while the VM is being started. */
  readonly status: VmStatus | null;
}

const ANSWER_MS = 2_000;
const SECOND_TRY_MS = 50;

/**
 * Asks the keeper of a runtime directory. `gone`: nobody listens there, which is the kernel's own word for it; `silent`: somebody does
 * and does not answer in time, or not as a keeper.
 */
export async function askKeeper(runtimeDir: string, answerMs = ANSWER_MS): Promise<KeeperState | 'gone' | 'silent'> {
  const socketPath = join(runtimeDir, 'keeper.sock');
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH_BYTES) {
    return 'gone'; // no keeper can listen there, and a cut path would reach another
  }
  const first = await ask(socketPath, answerMs);
  // One that hangs up is most likely about to be gone.
  if (first !== 'broken') {
    return first;
  }
  await delay(SECOND_TRY_MS);
  const second = await ask(socketPath, answerMs);
  return second === 'broken' ? 'silent' : second;
}

async function ask(socketPath: string, answerMs: number): Promise<KeeperState | 'gone' | 'silent' | 'broken'> {
  const signal = AbortSignal.timeout(answerMs);
  try {
    return await getUnixJson<KeeperState>(socketPath, '/', { signal });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const isGone = code === 'ENOENT' || code === 'ECONNREFUSED';
    return isGone ? 'gone' : signal.aborted ? 'silent' : 'broken';
  }
}
