import { SmartVMError } from '../errors.js';
import { delay } from '../util/deadline.js';
import { isAlive, type ProcessIdentity } from '../util/process-identity.js';
import { describeExit, readExit } from './exit.js';
import { askKeeper, type KeeperState } from './keeper-state.js';

/** A start does not wait for its keeper: what has come of it a moment later is not yet known of one that lives. */
const BEGIN_MS = 2_000;
const POLL_MS = 10;

/**
 * What the keeper of a VM says that runs.
 * @param keeper who it is, where that is known
 * @throws SmartVMError VM_NOT_FOUND when its keeper is gone, KEEPER_FAILED when that does not answer
 */
export async function livingKeeper(id: string, runtimeDir: string, keeper?: ProcessIdentity): Promise<KeeperState> {
  let state = await askKeeper(runtimeDir);
  const deadline = performance.now() + BEGIN_MS;
  while (state === 'gone' && keeper && performance.now() < deadline && (await isAlive(keeper))) {
    await delay(POLL_MS);
    state = await askKeeper(runtimeDir);
  }
  if (state === 'silent') {
    throw new SmartVMError('KEEPER_FAILED', `the keeper of VM ${id} does not answer`);
  }
  if (state === 'gone' || state.state !== 'running') {
    throw await endedError(id, runtimeDir);
  }
  return state;
}

/** VM_NOT_FOUND for a VM that is dead, with how it ended. */
async function endedError(id: string, runtimeDir: string): Promise<SmartVMError> {
  const exit = await readExit(runtimeDir);
  const how = exit.reason === 'keeper-lost' ? 'its keeper has left no word of how' : describeExit(exit);
  return new SmartVMError('VM_NOT_FOUND', `VM ${id} has ended: ${how}`, {
    details: { id, runtimeDir, exit },
  });
}
