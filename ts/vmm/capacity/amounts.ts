import { availableParallelism, totalmem } from 'node:os';
import type { CapacityOptions } from '../../config/capacity.js';

/** Of the two things that VMs take of a host. */
export interface Amounts {
  readonly memoryMib: number;
  readonly vcpus: number;
}

const DEFAULT_MEMORY_OVERCOMMIT = 1;
/** A virtual CPU that idles costs nothing, and one that does not shares. */
const DEFAULT_CPU_OVERCOMMIT = 64;

/** What all VMs may take together. */
export function hostLimits({ memoryOvercommit, cpuOvercommit }: CapacityOptions = {}): Amounts {
  return {
    memoryMib: Math.floor((memoryBytes() / 2 ** 20) * (memoryOvercommit ?? DEFAULT_MEMORY_OVERCOMMIT)),
    vcpus: Math.floor(availableParallelism() * (cpuOvercommit ?? DEFAULT_CPU_OVERCOMMIT)),
  };
}

/** The host's, or what a container lets its programs have. */
function memoryBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(totalmem(), constrained) : totalmem();
}

export function sum(items: Iterable<Amounts>): Amounts {
  let [memoryMib, vcpus] = [0, 0];
  for (const item of items) {
    memoryMib += item.memoryMib;
    vcpus += item.vcpus;
  }
  return { memoryMib, vcpus };
}

export function fits(amounts: Amounts, limits: Amounts): boolean {
  return amounts.memoryMib <= limits.memoryMib && amounts.vcpus <= limits.vcpus;
}

export function inWords({ memoryMib, vcpus }: Amounts): string {
  return `${memoryMib} MiB and ${vcpus} vCPU${vcpus === 1 ? '' : 's'}`;
}
