import { get } from 'node:http';
import { join } from 'node:path';
import { SocketClient } from '../firecracker/socket-client.js';
import { delay, withDeadline } from '../util/deadline.js';
import { isAlive, type ProcessIdentity } from '../util/process-identity.js';
import type { VmmExit } from './exit.js';
import { KEEPER_EXIT_MS, type Keeper } from './keeper.js';
import type { KeeperState } from './keeper-state.js';

const POLL_MS = 5;

/** The keeper of a VM that another program has started. */
export function adoptKeeper(runtimeDir: string, state: KeeperState): Keeper {
  const { bootId } = state;
  const process = { pid: state.keeperPid, startTime: state.keeperStartTime, bootId };
  const socketPath = join(runtimeDir, 'keeper.sock');
  const released = new AbortController();
  const ended = follow(socketPath, process, released.signal);
  return {
    process,
    vmm: { pid: state.vmmPid, startTime: state.vmmStartTime, bootId },
    reachable: Promise.resolve(),
    ended,
    client: new SocketClient({ socketPath }),
    console: new SocketClient({ socketPath }),
    detach: async () => undefined, // whose it was has no say any more, or still has
    release: () => released.abort(),
    end: () => endKeeper(process, ended),
  };
}

/** Settles when the keeper has ended, with the exit of its VMM where it had told that; never after the release. */
async function follow(
  socketPath: string,
  keeper: ProcessIdentity,
  released: AbortSignal,
): Promise<VmmExit | undefined> {
  const exit = await askExit(socketPath, released);
  // It has told it, or hung up: in either case it goes.
  while (!released.aborted && (await isAlive(keeper))) {
    await delay(POLL_MS, released);
  }
  return released.aborted ? await new Promise(() => undefined) : exit;
}

/** Waits by a connection of its own, which does not keep this program from ending. */
function askExit(socketPath: string, signal: AbortSignal): Promise<VmmExit | undefined> {
  return new Promise((resolve) => {
    const request = get({ socketPath, path: '/exit', agent: false, signal }, async (response) => {
      try {
        resolve(JSON.parse((await response.setEncoding('utf8').toArray()).join('')) as VmmExit);
      } catch {
        resolve(undefined);
      }
    });
    request.on('socket', (socket) => socket.unref());
    request.on('error', () => resolve(undefined));
  });
}

async function endKeeper(keeper: ProcessIdentity, ended: Promise<unknown>): Promise<void> {
  await withDeadline(ended, KEEPER_EXIT_MS, () => new Error('late')).catch(async () => {
    if (await isAlive(keeper)) {
      process.kill(keeper.pid, 'SIGKILL');
    }
  });
  await ended;
}
