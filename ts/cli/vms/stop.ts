import { isSmartVMError, SmartVMError } from '../../errors.js';
import type { StopOptions } from '../../vm/types.js';
import { attachTo } from './attached.js';
import type { ListedVm } from './list.js';

/** Ends a VM; one that has ended is none to end. A hurry goes to the last way, for of what the guest writes nothing is kept. */
export async function stop(vm: ListedVm, options: StopOptions, hurry: AbortSignal): Promise<void> {
  if (vm.status === 'exited') {
    return;
  }
  try {
    await using attached = await attachTo(vm);
    const force = () => void attached.stop({ force: true });
    hurry.addEventListener('abort', force, { once: true });
    try {
      await attached.stop(hurry.aborted ? { force: true } : options);
    } finally {
      hurry.removeEventListener('abort', force);
    }
  } catch (error) {
    if (!isSmartVMError(error, 'VM_NOT_FOUND')) {
      throw error; // it has not just ended by itself
    }
  }
}

/** @throws SmartVMError INVALID_STATE for a VM that has ended */
export async function kill(vm: ListedVm, hurry: AbortSignal): Promise<void> {
  if (vm.status === 'exited') {
    throw new SmartVMError('INVALID_STATE', `VM ${vm.id} has ended already`, {
      details: { id: vm.id, state: vm.status },
    });
  }
  await stop(vm, { force: true }, hurry);
}
