import type { MachineConfig, MachineConfigUpdate } from '../api/bodies.js';
import { Fault } from '../fault.js';

const MAX_VCPUS = 32;

export const DEFAULT_MACHINE_CONFIG: MachineConfig = {
  vcpu_count: 1,
  mem_size_mib: 128,
  smt: false,
  cpu_template: null,
  track_dirty_pages: false,
  huge_pages: 'None',
};

/**
 * The configuration after an update, whose null fields change nothing.
 * @throws Fault
 */
export function updateMachineConfig(current: MachineConfig, update: MachineConfigUpdate): MachineConfig {
  const given = Object.entries(update).filter(([, value]) => value !== null);
  const next: MachineConfig = { ...current, ...Object.fromEntries(given) };
  if (next.smt && process.arch === 'arm64') {
    throw new Fault('Machine config error: Enabling simultaneous multithreading is not supported on aarch64.');
  }
  const oddThreads = next.smt && next.vcpu_count > 1 && next.vcpu_count % 2 === 1;
  if (next.vcpu_count === 0 || next.vcpu_count > MAX_VCPUS || oddThreads) {
    throw new Fault(
      'Machine config error: The number of vCPUs must be greater than 0, less than 32 and must be 1 or an even number if SMT is enabled.',
    );
  }
  if (next.mem_size_mib === 0 || (next.huge_pages !== 'None' && next.mem_size_mib % 2 === 1)) {
    throw new Fault(
      'Machine config error: The memory size (MiB) is either 0, or not a multiple of the configured page size.',
    );
  }
  return { ...next, cpu_template: next.cpu_template === 'None' ? null : next.cpu_template };
}

/** As GET answers it: without a CPU template when there is none. */
export function presentMachineConfig(config: MachineConfig): object {
  const { cpu_template, ...rest } = config;
  const { vcpu_count, mem_size_mib, smt, ...others } = rest;
  return { vcpu_count, mem_size_mib, smt, ...(cpu_template === null ? {} : { cpu_template }), ...others };
}
