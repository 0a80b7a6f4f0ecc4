import { isSmartVMError, type SmartVMError } from '../../errors.js';
import { withDeadline } from '../../util/deadline.js';
import { askKeeper, type KeeperState } from '../../vmm/keeper-state.js';
import type { VmRecord } from '../../vmm/registry/record.js';
import { readRecord } from '../../vmm/registry/record-file.js';
import type { UnreadableEntry } from '../../vmm/registry/scan.js';
import type { UnreadableRecord } from '../../vmm/registry/unreadable-record.js';
import { findVm } from '../vms/find.js';
import type { ListedVm, VmList } from '../vms/list.js';

/** The VM that an archive is about, as far as it is known. */
export interface Subject {
  readonly id: string;
  readonly runtimeRoot: string;
  readonly runtimeDir: string;
  /** One of Docker's words; undefined where the record cannot be read. */
  readonly status: string | undefined;
  readonly record: VmRecord | undefined;
  readonly problem: UnreadableEntry['problem'] | undefined;
  readonly keeper: KeeperState | 'gone' | 'silent';
}

const KEEPER_MS = 2_000;

/**
 * A VM by id, name or beginning of an id; one whose record cannot be read, too.
 * @throws SmartVMError VM_NOT_FOUND, VM_AMBIGUOUS
 */
export async function subjectOf(list: VmList, reference: string): Promise<Subject> {
  const found = find(list, reference);
  const runtimeDir = 'record' in found ? found.runtimeDir : found.path;
  const record = await readRecord(runtimeDir, found.id).catch((error: UnreadableRecord) => error);
  const late = () => new Error('the keeper did not answer');
  return {
    id: found.id,
    runtimeRoot: list.runtimeRoot,
    runtimeDir,
    record: record instanceof Error ? undefined : record,
    status: 'record' in found ? found.status : undefined,
    problem: record instanceof Error ? record.problem : undefined,
    keeper: await withDeadline(askKeeper(runtimeDir, KEEPER_MS), 2 * KEEPER_MS, late).catch(() => 'silent' as const),
  };
}

function find(list: VmList, reference: string): ListedVm | UnreadableEntry {
  try {
    return findVm(list, reference);
  } catch (error) {
    const damaged = list.unreadable.filter(({ id }) => reference !== '' && id.startsWith(reference));
    const exact = damaged.find(({ id }) => id === reference);
    const [only, ...others] = exact ? [exact] : damaged;
    if (only && others.length === 0 && isSmartVMError(error, 'VM_NOT_FOUND', 'RECORD_UNREADABLE')) {
      return only;
    }
    throw error as SmartVMError;
  }
}
