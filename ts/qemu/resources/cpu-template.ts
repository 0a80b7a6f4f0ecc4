import { readFileSync } from 'node:fs';
import type { MachineConfig } from '../api/bodies.js';
import { Fault } from '../fault.js';

/**
 * Refuses a static CPU template: they are made for a few processors, and what QEMU shows its guest is none of them.
 * @throws Fault in the words in which Firecracker refuses one on such a host
 */
export function checkCpuTemplate({ cpu_template: template }: MachineConfig): void {
  if (template === null) {
    return;
  }
  const vendor = template === 'T2A' ? 'AuthenticAMD' : 'GenuineIntel';
  const reason = readFileSync('/proc/cpuinfo', 'latin1').includes(vendor)
    ? 'The current CPU model is not permitted to apply the CPU template.'
    : 'CPU vendor mismatched between actual CPU and CPU template.';
  throw new Fault(`Start microvm error: Failed to get CPU template: ${reason}`);
}
