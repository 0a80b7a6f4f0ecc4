import { SmartVMError } from '../errors.js';
import { describeExit, readExit } from './exit.js';

/** VM_NOT_FOUND for a VM that is dead, with how it ended. */
export async function endedError(id: string, runtimeDir: string): Promise<SmartVMError> {
  const exit = await readExit(runtimeDir);
  const how = exit.reason === 'keeper-lost' ? 'its keeper has left no word of how' : describeExit(exit);
  return new SmartVMError('VM_NOT_FOUND', `VM ${id} has ended: ${how}`, {
    details: { id, runtimeDir, exit },
  });
}
