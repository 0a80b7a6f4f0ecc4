import type { MemoryHotplug } from '../api/device-bodies.js';
import { Fault } from '../fault.js';

const MIN_BLOCK_MIB = 2;
const MIN_SLOT_MIB = 128;

/** @throws Fault */
export function checkMemoryHotplug(config: MemoryHotplug): void {
  const { total_size_mib: total, block_size_mib: block, slot_size_mib: slot } = config;
  const checks: readonly (readonly [boolean, string])[] = [
    [block >= MIN_BLOCK_MIB, `Block size must not be lower than ${MIN_BLOCK_MIB} MiB`],
    [Number.isInteger(Math.log2(block)), 'Block size must be a power of 2'],
    [slot >= MIN_SLOT_MIB, `Slot size must not be lower than ${MIN_SLOT_MIB} MiB`],
    [slot % block === 0, `Slot size must be a multiple of block size (${block} MiB)`],
    [total >= slot, `Total size must not be lower than slot size (${slot} MiB)`],
    [total % slot === 0, `Total size must be a multiple of slot size (${slot} MiB)`],
  ];
  const failed = checks.find(([holds]) => !holds);
  if (failed) {
    throw new Fault(`Memory hotplug config error: ${failed[1]}`);
  }
}
