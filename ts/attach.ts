import { dirname } from 'node:path';
import type { IMicroVMConfig } from './config/types.js';
import { SmartVMError } from './errors.js';
import { readGuestAccess } from './guest/access.js';
import { dialerOf } from './launch.js';
import { MicroVM } from './vm/micro-vm.js';
import type { NetworkProvider, StartOptions } from './vm/types.js';
import { UnreadableRecord } from './vmm/registry/record.js';
import { readRecord } from './vmm/registry/record-file.js';
import type { RecordEntry, UnreadableEntry } from './vmm/registry/scan.js';

export interface AttachOptions extends Pick<StartOptions, 'signal'> {
  /** Most milliseconds until the VM's VMM has answered. Default 60,000. */
  startTimeoutMs?: number | undefined;
}

export interface AttachReport {
  readonly vms: readonly MicroVM[];
  /** VMs that have ended, are being started, or do not answer. */
  readonly failed: readonly { readonly id: string; readonly error: SmartVMError }[];
  /** Directories whose records are not acted on. */
  readonly unreadable: readonly UnreadableEntry[];
}

/** @throws SmartVMError VM_NOT_FOUND, RECORD_UNREADABLE */
export async function findRecord(id: string, runtimeDir: string): Promise<RecordEntry> {
  try {
    return { runtimeDir, record: await readRecord(runtimeDir) };
  } catch (cause) {
    if (!(cause instanceof UnreadableRecord)) {
      throw cause;
    }
    const details = { id, path: runtimeDir, problem: cause.problem };
    throw cause.problem === 'missing'
      ? new SmartVMError('VM_NOT_FOUND', `there is no VM ${id} in ${dirname(runtimeDir)}`, { cause, details })
      : new SmartVMError('RECORD_UNREADABLE', `the record of VM ${id} cannot be used: ${cause.message}`, {
          cause,
          details,
        });
  }
}

/** A VM that its start attaches to what runs. */
export async function vmToAttach({ runtimeDir, record }: RecordEntry, network: NetworkProvider): Promise<MicroVM> {
  const access = await readGuestAccess(runtimeDir);
  const { id, config, vmm, socketPath } = record;
  return new MicroVM(id, config as IMicroVMConfig, vmm.path, socketPath, network, {
    runtimeDir,
    attach: { record, dial: access && dialerOf(access) },
  });
}
