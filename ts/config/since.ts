import { isRecord } from './validation/checks.js';

/** The version of Firecracker that brought a field, or a value of it. */
export interface Since {
  /** Path in what is given to SmartVM; `[]` stands for every element of a list. */
  readonly field: string;
  /** Only these values are that young. Default: any value. */
  readonly values?: readonly string[];
  /** `major.minor`. */
  readonly version: string;
}

/**
 * Fields that an older VMM refuses, or would drop without a word, by the release that brought them. From Firecracker's
 * CHANGELOG.md; where that is silent (`module`, the levels Trace and Off), from the sources of the release before and of the
 * release itself. What has been there since 1.0 is not listed.
 */
export const CONFIG_SINCE: readonly Since[] = [
  { field: 'machineConfig.cpuTemplate', values: ['T2S'], version: '1.2' },
  { field: 'machineConfig.cpuTemplate', values: ['T2CL', 'T2A'], version: '1.3' },
  { field: 'machineConfig.cpuTemplate', values: ['V1N1'], version: '1.4' },
  { field: 'machineConfig.hugePages', values: ['None', '2M'], version: '1.7' },
  { field: 'machineConfig.hugePages', values: ['Transparent'], version: '1.17' },
  { field: 'cpuConfig', version: '1.4' },
  { field: 'cpuConfig.kvmCapabilities', version: '1.5' },
  { field: 'cpuConfig.vcpuFeatures', version: '1.5' },
  { field: 'drives[].socket', version: '1.6' },
  { field: 'pmem', version: '1.14' },
  { field: 'pmem[].rateLimiter', version: '1.16' },
  { field: 'networkInterfaces[].mtu', version: '1.16' },
  { field: 'balloon.freePageHinting', version: '1.14' },
  { field: 'balloon.freePageReporting', version: '1.14' },
  { field: 'entropy', version: '1.4' },
  { field: 'serial', version: '1.14' },
  { field: 'serial.rateLimiter', version: '1.16' },
  { field: 'memoryHotplug', version: '1.14' },
  { field: 'mmds.imdsCompat', version: '1.13' },
  { field: 'logger.level', values: ['Trace', 'Off'], version: '1.5' },
  { field: 'logger.module', version: '1.6' },
  { field: 'metrics.emitId', version: '1.17' },
  { field: 'metrics.properties', version: '1.17' },
];

/** Fields and values in `given` that are in the table, each with the version that it needs. */
export function gatedFields(table: readonly Since[], given: unknown): Since[] {
  return table.filter(({ field, values }) =>
    valuesAt(given, field.split('.')).some((value) => values === undefined || values.some((young) => young === value)),
  );
}

/** The values at a path, of which a list in it makes several; absent ones are left out. */
function valuesAt(given: unknown, [name, ...rest]: readonly string[]): unknown[] {
  if (name === undefined) {
    return given === undefined ? [] : [given];
  }
  const key = name.replace('[]', '');
  const value = isRecord(given) ? given[key] : undefined;
  const items = key === name ? [value] : Array.isArray(value) ? value : [];
  return items.flatMap((item) => valuesAt(item, rest));
}
