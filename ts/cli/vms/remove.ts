import { existsSync } from 'node:fs';
import { SmartVMError } from '../../errors.js';
import { reclaim } from '../../vmm/registry/reclaim.js';
import { readRecord } from '../../vmm/registry/record-file.js';
import type { ListedVm } from './list.js';
import { stop } from './stop.js';

/**
 * Removes all that a VM has left, which with `force` is ended first.
 * @throws SmartVMError INVALID_STATE for one that lives, CLEANUP_FAILED
 */
export async function remove(vm: ListedVm, force: boolean, hurry: AbortSignal): Promise<void> {
  const { id, status, runtimeDir } = vm;
  if (status !== 'exited') {
    if (!force) {
      throw new SmartVMError('INVALID_STATE', `VM ${id} is ${status}: stop it first, or take --force`, {
        details: { id, state: status },
      });
    }
    await stop(vm, { force: true }, hurry);
  }
  const record = await readRecord(runtimeDir).catch((error: unknown) => {
    if (existsSync(runtimeDir)) {
      throw error;
    }
  });
  if (record) {
    await reclaim(runtimeDir, record);
  }
  if (record && existsSync(runtimeDir)) {
    const { pid } = record.owner;
    throw new SmartVMError('INVALID_STATE', `VM ${id} is not dead yet, or is that of program ${pid}, which lives`, {
      details: { id, owner: pid },
    });
  }
}
