import { quote } from '../../config/ids.js';
import { SmartVMError } from '../../errors.js';
import type { ListedVm, VmList } from './list.js';

const MAX_NAMED = 5;

/**
 * The VM that somebody means by an id, a name, or the beginning of an id that only one has; in this order. Of several of a name,
 * the one that lives is meant, or the last to be made of those that have ended: a name is taken again by the next.
 * @throws SmartVMError VM_NOT_FOUND, VM_AMBIGUOUS, RECORD_UNREADABLE
 */
export function findVm({ vms, unreadable, runtimeRoot }: VmList, reference: string): ListedVm {
  const exact = vms.find(({ id }) => id === reference);
  if (exact) {
    return exact;
  }
  const damaged = unreadable.find(({ id }) => id === reference);
  if (damaged) {
    throw new SmartVMError('RECORD_UNREADABLE', `the record of VM ${reference} cannot be used: ${damaged.message}`, {
      details: { id: damaged.id, path: damaged.path, problem: damaged.problem },
    });
  }
  const named = vms.filter(({ record }) => record.name === reference);
  const found = named.length > 0 ? meant(named) : vms.filter(({ id }) => reference !== '' && id.startsWith(reference));
  const [only, ...others] = found;
  if (only === undefined) {
    throw new SmartVMError('VM_NOT_FOUND', `there is no VM ${quote(reference)} in ${runtimeRoot}`, {
      details: { reference, runtimeDir: runtimeRoot },
    });
  }
  if (others.length > 0) {
    throw ambiguous(reference, found, named.length > 0);
  }
  return only;
}

function meant(named: readonly ListedVm[]): readonly ListedVm[] {
  const alive = named.filter(({ status }) => status !== 'exited');
  return alive.length > 0 ? alive : named.slice(0, 1);
}

function ambiguous(reference: string, found: readonly ListedVm[], byName: boolean): SmartVMError {
  const ids = found.map(({ id }) => id).toSorted();
  const rest = ids.length - MAX_NAMED;
  const list = ids.slice(0, MAX_NAMED).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
  const what = byName ? 'are called' : 'have ids that begin with';
  return new SmartVMError('VM_AMBIGUOUS', `${ids.length} VMs ${what} ${quote(reference)}: ${list}; give a whole id`, {
    details: { reference, ids },
  });
}
