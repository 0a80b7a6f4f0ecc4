import { stat } from 'node:fs/promises';
import { MACHINE_DEFAULTS } from '../config/defaults.js';
import type { IRestoreOptions } from '../config/restore.js';
import type { IMicroVMConfig } from '../config/types.js';

/** What a guest has of the host at most. Undefined: only its snapshot says. */
export interface GuestSize {
  readonly vcpuCount: number | undefined;
  /** Memory that can be plugged in later counts from the start. */
  readonly memSizeMib: number | undefined;
}

export async function guestSizeOf(
  { machineConfig, memoryHotplug }: Partial<IMicroVMConfig>,
  restore: IRestoreOptions | undefined,
): Promise<GuestSize> {
  if (restore) {
    return { vcpuCount: undefined, memSizeMib: await snapshotMib(restore) };
  }
  const { vcpuCount, memSizeMib } = { ...MACHINE_DEFAULTS, ...machineConfig };
  return { vcpuCount, memSizeMib: memSizeMib + (memoryHotplug?.totalSizeMib ?? 0) };
}

/** The memory file of a snapshot is as large as the guest's memory; a page fault handler does not say what it has. */
async function snapshotMib({ memBackend }: IRestoreOptions): Promise<number | undefined> {
  const file =
    memBackend.backendType === 'File' ? await stat(memBackend.backendPath).catch(() => undefined) : undefined;
  return file && Math.ceil(file.size / 2 ** 20); // the VMM says what is wrong with one that is not there
}
