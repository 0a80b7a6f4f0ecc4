import type { CapacityDemand } from '../../config/capacity.js';
import { MACHINE_DEFAULTS } from '../../config/defaults.js';
import type { IRestoreOptions } from '../../config/restore.js';
import type { IMicroVMConfig } from '../../config/types.js';
import type { VmmKind } from '../find.js';
import { guestSizeOf } from '../guest-size.js';
import type { Amounts } from './amounts.js';

export interface DemandSource {
  readonly config: Partial<IMicroVMConfig>;
  readonly restore?: IRestoreOptions | undefined;
  /** What the caller says goes before what can be found out. */
  readonly said?: CapacityDemand | undefined;
}

/** What keeper and VMM take beside the guest's memory, in MiB. Most of QEMU's is code that its emulation has translated. */
const OVERHEAD_MIB: Readonly<Record<VmmKind, number>> = { firecracker: 16, qemu: 320 };

/** What a VM is counted for. Of one out of a snapshot, what cannot be known is none of the memory, and one CPU. */
export async function demandOf({ config, restore, said = {} }: DemandSource, vmm: VmmKind): Promise<Amounts> {
  const { vcpuCount, memSizeMib } = await guestSizeOf(config, restore);
  return {
    memoryMib: (said.memSizeMib ?? memSizeMib ?? 0) + OVERHEAD_MIB[vmm],
    vcpus: said.vcpuCount ?? vcpuCount ?? MACHINE_DEFAULTS.vcpuCount,
  };
}
