import { get } from 'node:http';
import { join } from 'node:path';
import { delay } from '../util/deadline.js';
import { MAX_SOCKET_PATH_BYTES } from '../util/socket-path.js';

/** What a keeper says of its VM. */
export interface KeeperState {
  readonly id: string;
  readonly state: 'running' | 'exited';
  readonly keeperPid: number;
  readonly keeperStartTime: string;
  readonly vmmPid: number;
  readonly vmmStartTime: string;
  readonly bootId: string;
}

const ANSWER_MS = 2_000;
const SECOND_TRY_MS = 50;

/**
 * Asks the keeper of a runtime directory. `gone`: nobody listens there, which is the kernel's own word for it; `silent`: somebody does
 * and does not answer in time, or not as a keeper.
 *
 * By Node's own client, which is there at once: to load a better one takes longer than a hundred answers.
 */
export async function askKeeper(runtimeDir: string): Promise<KeeperState | 'gone' | 'silent'> {
  const socketPath = join(runtimeDir, 'keeper.sock');
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH_BYTES) {
    return 'gone'; // no keeper can listen there, and a cut path would reach another
  }
  const first = await ask(socketPath);
  // One that hangs up is most likely about to be gone.
  if (first !== 'broken') {
    return first;
  }
  await delay(SECOND_TRY_MS);
  const second = await ask(socketPath);
  return second === 'broken' ? 'silent' : second;
}

function ask(socketPath: string): Promise<KeeperState | 'gone' | 'silent' | 'broken'> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const request = get({ socketPath, path: '/', agent: false, signal }, async (response) => {
      try {
        resolve(JSON.parse((await response.setEncoding('utf8').toArray()).join('')) as KeeperState);
      } catch {
        resolve('broken');
      }
    });
    request.on('error', ({ code }: NodeJS.ErrnoException) => {
      const isGone = code === 'ENOENT' || code === 'ECONNREFUSED';
      resolve(isGone ? 'gone' : signal.aborted ? 'silent' : 'broken');
    });
  });
}
