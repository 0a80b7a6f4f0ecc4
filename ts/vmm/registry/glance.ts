import { isRecord } from '../../config/validation/checks.js';
import type { ProcessIdentity } from '../../util/process-identity.js';
import type { VmRecord } from './record.js';
import { parseVersioned, RECORD_VERSION, UnreadableRecord } from './unreadable-record.js';

/** What a list shows of a record. */
export type RecordGlance = Pick<
  VmRecord,
  'id' | 'name' | 'labels' | 'image' | 'createdAt' | 'owner' | 'detached' | 'vmm' | 'restored' | 'processes'
> & { readonly cpus: number | undefined; readonly memoryMib: number | undefined };

/**
 * Reads of a record what a list shows, a tenth of the work that it is to check all of it. Nothing is to be done to a VM by this.
 * @param id what the directory is called @throws UnreadableRecord
 */
export function glanceAtRecord(content: string, id: string): RecordGlance {
  const value = parseVersioned(content, JSON.parse);
  if (!isRecord(value) || value.version !== RECORD_VERSION || value.id !== id || !isShowable(value)) {
    throw new UnreadableRecord('corrupt', `it is not the record of VM ${id}`);
  }
  const { name, labels, image, createdAt, owner, detached, vmm, restored, processes, config } =
    value as unknown as VmRecord;
  const machine = Object(config.machineConfig) as { vcpuCount?: unknown; memSizeMib?: unknown };
  return {
    ...{ id, name, labels, image, createdAt, owner, detached, vmm, restored, processes },
    cpus: numberOr(machine.vcpuCount, restored ? undefined : 1),
    memoryMib: numberOr(machine.memSizeMib, undefined),
  };
}

function isShowable({
  name,
  labels,
  image,
  createdAt,
  owner,
  vmm,
  config,
  processes,
}: Record<string, unknown>): boolean {
  return (
    [name, image, Object(vmm).kind].every((text) => text === undefined || typeof text === 'string') &&
    (labels === undefined || (isRecord(labels) && Object.values(labels).every((text) => typeof text === 'string'))) &&
    typeof createdAt === 'string' &&
    [vmm, config].every(isRecord) &&
    isIdentity(owner) &&
    (processes === undefined || (isRecord(processes) && isIdentity(processes.keeper) && isIdentity(processes.vmm)))
  );
}

function isIdentity(value: unknown): value is ProcessIdentity {
  return isRecord(value) && Number.isInteger(value.pid) && typeof value.startTime === 'string';
}

function numberOr<T>(value: unknown, other: T): number | T {
  return typeof value === 'number' ? value : other;
}
