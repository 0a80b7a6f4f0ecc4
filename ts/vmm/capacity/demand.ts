import { stat } from 'node:fs/promises';
import type { CapacityDemand } from '../../config/capacity.js';
import { MACHINE_DEFAULTS } from '../../config/defaults.js';
import type { IRestoreOptions } from '../../config/restore.js';
import type { IMicroVMConfig } from '../../config/types.js';
import type { VmmKind } from '../find.js';
import type { Amounts } from './amounts.js';

export interface DemandSource {
  readonly config: Partial<IMicroVMConfig>;
  readonly restore?: IRestoreOptions | undefined;
  /** What the caller says goes before what can be found out. */
  readonly said?: CapacityDemand | undefined;
}

/** What keeper and VMM take beside the guest's memory, in MiB. Most of QEMU's is code that its emulation has translated. */
const OVERHEAD_MIB: Readonly<Record<VmmKind, number>> = { firecracker: 16, qemu: 320 };

/** What a VM takes of the host: at most, for memory that can be plugged in later counts from the start. */
export async function demandOf(source: DemandSource, vmm: VmmKind): Promise<Amounts> {
  const { config, restore, said = {} } = source;
  const { vcpuCount, memSizeMib } = config.machineConfig ?? {};
  const guestMib =
    said.memSizeMib ??
    (restore
      ? await snapshotMib(restore)
      : (memSizeMib ?? MACHINE_DEFAULTS.memSizeMib) + (config.memoryHotplug?.totalSizeMib ?? 0));
  return {
    memoryMib: guestMib + OVERHEAD_MIB[vmm],
    vcpus: said.vcpuCount ?? vcpuCount ?? MACHINE_DEFAULTS.vcpuCount,
  };
}

/** The memory file of a snapshot is as large as the guest's memory; a page fault handler does not say what it has. */
async function snapshotMib({ memBackend }: IRestoreOptions): Promise<number> {
  if (memBackend.backendType !== 'File') {
    return 0;
  }
  const { size } = await stat(memBackend.backendPath).catch(() => ({ size: 0 })); // the VMM says what is wrong with it
  return Math.ceil(size / 2 ** 20);
}
