import type { IEntropyConfig, IMemoryHotplugConfig, IPmemConfig, ISerialConfig } from '../device-types.js';
import { isValidResourceId, RESOURCE_ID_RULE } from '../ids.js';
import {
  type Check,
  flag,
  hostPath,
  integer,
  isRecord,
  list,
  object,
  type Report,
  recordsOf,
  reportDuplicates,
  rule,
  type UnknownRecord,
} from './checks.js';
import { rateLimiter, tokenBucket } from './rate-limiter.js';

export const entropy = object<IEntropyConfig>({ rateLimiter });

export const serial = object<ISerialConfig>({ serialOutPath: hostPath, rateLimiter: tokenBucket });

export const pmemDevice = object<IPmemConfig>(
  {
    id: rule(isValidResourceId, RESOURCE_ID_RULE),
    pathOnHost: hostPath,
    isRootDevice: flag,
    isReadOnly: flag,
    rateLimiter,
  },
  ['id', 'pathOnHost'],
);

const eachPmemDevice = list(pmemDevice);

export const pmem: Check = (value, path, report) => {
  eachPmemDevice(value, path, report);
  reportDuplicates(value, path, 'id', report);
};

/** A guest boots from one device: several drives are reported by the drives' own check. */
export function reportSecondRootDevice(config: UnknownRecord, report: Report): void {
  const isRoot = ([, record]: [number, UnknownRecord]) => record.isRootDevice === true;
  const roots = recordsOf(config.pmem).filter(isRoot);
  const total = roots.length + (recordsOf(config.drives).some(isRoot) ? 1 : 0);
  for (const [index] of total > 1 ? roots : []) {
    report(`pmem[${index}].isRootDevice`, 'must be the only root device, there is another');
  }
}

const MAX_MIB = 2 ** 32 - 1;
const SLOT_MIB = 128;
const BLOCK_MIB = 2;

const memoryHotplugFields = object<IMemoryHotplugConfig>(
  {
    totalSizeMib: integer(SLOT_MIB, MAX_MIB),
    slotSizeMib: integer(SLOT_MIB, MAX_MIB),
    blockSizeMib: integer(BLOCK_MIB, MAX_MIB),
  },
  ['totalSizeMib'],
);

export const memoryHotplug: Check = (value, path, report) => {
  memoryHotplugFields(value, path, report);
  if (!isRecord(value)) {
    return;
  }
  const { totalSizeMib: total, slotSizeMib: slot = SLOT_MIB, blockSizeMib: block = BLOCK_MIB } = value;
  if (typeof block === 'number' && !Number.isInteger(Math.log2(block))) {
    report(`${path}.blockSizeMib`, 'must be a power of 2');
  }
  if (typeof slot === 'number' && typeof block === 'number' && slot % block !== 0) {
    report(`${path}.slotSizeMib`, `must be a multiple of blockSizeMib, which is ${block}`);
  }
  if (typeof total === 'number' && typeof slot === 'number' && (total < slot || total % slot !== 0)) {
    report(`${path}.totalSizeMib`, `must be a multiple of slotSizeMib, which is ${slot}`);
  }
};
