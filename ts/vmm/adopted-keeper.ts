import { join } from 'node:path';
import { SocketClient } from '../firecracker/socket-client.js';
import { delay, withDeadline } from '../util/deadline.js';
import { endProcess } from '../util/end-process.js';
import { isAlive, type ProcessIdentity } from '../util/process-identity.js';
import type { VmmExit } from './exit.js';
import { KEEPER_EXIT_MS, type Keeper, KILL_ORDER_MS } from './keeper.js';
import { KeeperLife } from './keeper-life.js';
import type { KeeperState } from './keeper-state.js';

const POLL_MS = 5;

/** The keeper of a VM that another program has started. */
export function adoptKeeper(runtimeDir: string, state: KeeperState): Keeper {
  const { bootId } = state;
  const process = { pid: state.keeperPid, startTime: state.keeperStartTime, bootId };
  const socketPath = join(runtimeDir, 'keeper.sock');
  const released = new AbortController();
  const connection = { client: new SocketClient({ socketPath }), reach: async () => undefined };
  const life = new KeeperLife(state.id, runtimeDir, connection, state.status);
  const ended = follow(life, process, released.signal);
  released.signal.addEventListener('abort', () => life.close());
  return {
    process,
    vmm: { pid: state.vmmPid, startTime: state.vmmStartTime, bootId },
    ...connection,
    kill: () => connection.client.put('/signal', { signal: 'SIGKILL' }, { timeoutMs: KILL_ORDER_MS }),
    ended,
    life,
    console: new SocketClient({ socketPath }),
    detach: async () => undefined, // whose it was has no say any more, or still has
    release: () => released.abort(),
    end: () => endKeeper(process, ended).finally(() => life.close()),
  };
}

/** Settles when the keeper has ended, with the exit of its VMM where it had told that; never after the release. */
async function follow(life: KeeperLife, keeper: ProcessIdentity, released: AbortSignal): Promise<VmmExit | undefined> {
  const exit = await life.exit();
  // It has told it, or hung up: in either case it goes.
  while (!released.aborted && (await isAlive(keeper))) {
    await delay(POLL_MS, released);
  }
  return released.aborted ? await new Promise(() => undefined) : exit;
}

async function endKeeper(keeper: ProcessIdentity, ended: Promise<unknown>): Promise<void> {
  await withDeadline(ended, KEEPER_EXIT_MS, () => new Error('late')).catch(() => endProcess(keeper));
  await ended;
}
