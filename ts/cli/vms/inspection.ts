import { join } from 'node:path';
import { findRecord } from '../../vmm/registry/find-record.js';
import type { ListedVm } from './list.js';
import { attachmentsByVm, networkDetails } from './networks.js';
import { exitCodeOf } from './ps-row.js';

/**
 * All that the files of a VM say of it but its keys. Fields that may be absent are null, so that templates can name them.
 * @throws SmartVMError RECORD_UNREADABLE, VM_NOT_FOUND when it has gone meanwhile
 */
export async function inspectVm({ id, runtimeDir, status, state, exit }: ListedVm): Promise<object> {
  const { record } = await findRecord(id, runtimeDir); // the list has read but a part of it
  const { version: _version, name, labels, image, createdAt, ...rest } = record;
  return {
    ...{ id, name: name ?? null, image: image ?? null, labels: labels ?? {} },
    state: status,
    createdAt,
    startedAt: state?.startedAt ?? null,
    changedAt: state?.changedAt ?? null,
    expiresAt: state?.expiresAt ?? null,
    onExpiry: state?.onExpiry ?? null,
    idleTimeoutMs: state?.idleTimeoutMs ?? null,
    exit: exit ? { ...exit, code: exitCodeOf(exit) } : null,
    paths: {
      runtimeDir,
      api: rest.socketPath,
      keeper: join(runtimeDir, 'keeper.sock'),
      console: join(runtimeDir, 'console.log'),
      vmmLog: join(runtimeDir, 'vmm.log'),
    },
    ...rest,
    networks: (attachmentsByVm().get(runtimeDir) ?? []).map(networkDetails),
    processes: rest.processes ?? null,
  };
}
