import type { IMachineConfig, IMicroVMConfig } from './types.js';
import { isRecord } from './validation/checks.js';

// What a configuration means where it says nothing: only of fields that the API insists on, for the VMM knows the rest,
// and of the MMDS version, where the VMM's own default is the weaker one.

/** One virtual CPU and 256 MiB. */
export const MACHINE_DEFAULTS = { vcpuCount: 1, memSizeMib: 256 } as const;
/** A writable data drive. */
export const DRIVE_DEFAULTS = { isRootDevice: false, isReadOnly: false } as const;
/** A guest short of memory takes it back instead of killing a process. */
export const BALLOON_DEFAULTS = { deflateOnOom: true } as const;
/** V1 answers whatever request a program in the guest can be tricked into; V2 asks for a token. */
export const MMDS_DEFAULTS = { version: 'V2' } as const;

export interface IMachineConfigWithDefaults extends IMachineConfig {
  vcpuCount: number;
  memSizeMib: number;
}

/** A configuration whose machine is spelt out. */
export interface IMicroVMConfigWithDefaults extends IMicroVMConfig {
  machineConfig: IMachineConfigWithDefaults;
}

/** Spells out the machine, in place. A value that is no configuration stays what it is, for the validation to report. */
export function applyMachineDefaults(config: unknown): void {
  if (!isRecord(config)) {
    return;
  }
  if (config.machineConfig === undefined) {
    config.machineConfig = {};
  }
  const machine = config.machineConfig;
  if (!isRecord(machine)) {
    return;
  }
  for (const [name, value] of Object.entries(MACHINE_DEFAULTS)) {
    if (machine[name] === undefined) {
      machine[name] = value;
    }
  }
}
