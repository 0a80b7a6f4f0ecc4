import { SmartVMError } from '../errors.js';
import { assertOptions } from './validation/assert-options.js';
import { type Check, integer, object } from './validation/checks.js';

/** How much of the host all VMs of this user may take together. */
export interface CapacityOptions {
  /** Memory that may be promised, as a multiple of the host's. Default 1. */
  memoryOvercommit?: number | undefined;
  /** Virtual CPUs that may be promised, as a multiple of the CPUs that this program may run on. Default 64. */
  cpuOvercommit?: number | undefined;
}

/** What a VM counts for. */
export interface CapacityDemand {
  /** Memory of the guest in MiB. */
  memSizeMib?: number | undefined;
  vcpuCount?: number | undefined;
}

const MAX_OVERCOMMIT = 1000;

const factor: Check = (value, path, report) => {
  if (!(typeof value === 'number' && value > 0 && value <= MAX_OVERCOMMIT)) {
    report(path, `must be a number over 0 and up to ${MAX_OVERCOMMIT}`);
  }
};

const capacityOptions = object<CapacityOptions>({ memoryOvercommit: factor, cpuOvercommit: factor });
const capacityDemand = object<CapacityDemand>({ memSizeMib: integer(0), vcpuCount: integer(0) });

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertCapacityOptions(options: unknown): void {
  if (options !== false) {
    assertOptions(capacityOptions, options, 'capacity');
  }
}

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertCapacityDemand(demand: unknown): void {
  assertOptions(capacityDemand, demand, 'capacity');
}

/** @throws SmartVMError INVALID_OPTION */
export function assertQueueMs(queueMs: unknown): void {
  if (queueMs !== undefined && !(Number.isSafeInteger(queueMs) && Number(queueMs) >= 0)) {
    throw new SmartVMError('INVALID_OPTION', 'queueMs must be an integer of at least 0');
  }
}
