import { SmartVMError } from '../errors.js';
import { describeExit, readExit } from './exit.js';
import { askKeeper, type KeeperState } from './keeper-state.js';

/**
 * What the keeper of a VM says that runs.
 * @throws SmartVMError VM_NOT_FOUND when its keeper is gone, KEEPER_FAILED when that does not answer
 */
export async function livingKeeper(id: string, runtimeDir: string): Promise<KeeperState> {
  const state = await askKeeper(runtimeDir);
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
