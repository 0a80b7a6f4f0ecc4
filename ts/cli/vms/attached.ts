import { SmartVMError } from '../../errors.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import { findRecord } from '../../vmm/registry/find-record.js';
import { findVm } from './find.js';
import { type ListedVm, listVms } from './list.js';

/** The VM that is meant, if it lives. @throws SmartVMError VM_NOT_FOUND, VM_AMBIGUOUS, RECORD_UNREADABLE, INVALID_STATE */
export function findLivingVm(reference: string): ListedVm {
  const vm = findVm(listVms(), reference);
  assertAlive(vm);
  return vm;
}

/** The VM that is meant, if its guest runs. @throws SmartVMError as {@link findLivingVm} */
export function findRunningVm(reference: string): ListedVm {
  const vm = findLivingVm(reference);
  const { id, status } = vm;
  if (status === 'paused') {
    throw new SmartVMError('INVALID_STATE', `VM ${id} is paused; 'smartvm resume ${id}' has it go on`, {
      details: { id, state: status },
    });
  }
  return vm;
}

/** @throws SmartVMError INVALID_STATE */
function assertAlive({ id, status, record }: ListedVm): void {
  const why =
    status === 'exited'
      ? `has ended, and does not start again; 'smartvm rm ${id}' removes what is left of it`
      : status === 'created'
        ? `is being started by program ${record.owner.pid}`
        : undefined;
  if (why !== undefined) {
    throw new SmartVMError('INVALID_STATE', `VM ${id} ${why}`, { details: { id, state: status } });
  }
}

/**
 * Attaches to a VM, which no disposing of it ends. Of the library no more is loaded than that takes.
 * @throws SmartVMError INVALID_STATE, VM_NOT_FOUND when it ends meanwhile, KEEPER_FAILED, CANCELED
 */
export async function attachTo(vm: ListedVm, signal?: AbortSignal): Promise<MicroVM> {
  assertAlive(vm);
  const { vmToAttach } = await import('../../attach.js');
  const attached = await vmToAttach(await findRecord(vm.id, vm.runtimeDir), {});
  await attached.start({ signal });
  return attached;
}

/** What does something with the VMs that it is given, and then lets go of each. */
export function attachedTo(act: (vm: MicroVM) => Promise<void>): (vm: ListedVm) => Promise<void> {
  return async (vm) => {
    await using attached = await attachTo(vm);
    await act(attached);
  };
}
