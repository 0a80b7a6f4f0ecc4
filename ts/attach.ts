import type { IMicroVMConfig } from './config/types.js';
import type { SmartVMError } from './errors.js';
import { readGuestAccess } from './guest/access.js';
import { dialerOf } from './guest/dial.js';
import type { Networks } from './network/networks.js';
import { vmAccess } from './network/vm-access.js';
import { MicroVM } from './vm/micro-vm.js';
import type { NetworkProvider, StartOptions } from './vm/types.js';
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

/** A VM that its start attaches to what runs. @param networks of the host, for those who may ask the VM about its own */
export async function vmToAttach(
  { runtimeDir, record }: RecordEntry,
  network: NetworkProvider,
  networks?: Networks,
): Promise<MicroVM> {
  const access = await readGuestAccess(runtimeDir);
  const { id, config, vmm, socketPath } = record;
  return new MicroVM(id, config as IMicroVMConfig, vmm.path, socketPath, network, {
    runtimeDir,
    networkAccess: networks && vmAccess(networks, { id, runtimeDir }),
    attach: { record, dial: access && dialerOf(access) },
  });
}
