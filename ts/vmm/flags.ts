import type { HostPath } from '../config/host-paths.js';
import type { Since } from '../config/since.js';
import type { LogLevel } from '../config/types.js';
import { assertOptions } from '../config/validation/assert-options.js';
import { type Check, flag, hostPath, integer, isRecord, object, oneOf, text } from '../config/validation/checks.js';

/** What a VMM takes on its command line; what it takes on its API is in IMicroVMConfig. */
export interface VmmFlags {
  /** Largest body of an API request in bytes. The VMM's default is 51,200. */
  httpApiMaxPayloadSizeBytes?: number;
  /** Most bytes that the metadata service holds. Default: `httpApiMaxPayloadSizeBytes`. Firecracker ≥ 1.1. */
  mmdsSizeLimitBytes?: number;
  /** A compiled filter in place of the VMM's own. Excludes `noSeccomp`. */
  seccompFilterPath?: string;
  /** Without any filter: a guest that escapes finds every system call. */
  noSeccomp?: boolean;
  /** Logs the time from the VMM's start to the guest's signal on an I/O port. */
  bootTimer?: boolean;
  /** virtio over PCI in place of MMIO. Firecracker ≥ 1.13. */
  enablePci?: boolean;
  /** File whose JSON the metadata service holds at first. */
  metadataPath?: string;
  /** File or FIFO of the log from the VMM's first moment. Excludes `logger` in the configuration, which begins later. */
  logPath?: string;
  /** Least level that is logged before `logger` is set up. Default Warning. */
  level?: LogLevel;
  /** Keeps only messages of this module path. Firecracker ≥ 1.6. */
  module?: string;
  showLevel?: boolean;
  showLogOrigin?: boolean;
}

/** Of Firecracker's CHANGELOG.md; `module` by the sources of 1.5 and 1.6. */
export const FLAGS_SINCE: readonly Since[] = [
  { field: 'vmmFlags.mmdsSizeLimitBytes', version: '1.1' },
  { field: 'vmmFlags.level', values: ['Trace', 'Off'], version: '1.5' },
  { field: 'vmmFlags.module', version: '1.6' },
  { field: 'vmmFlags.enablePci', version: '1.13' },
];

const sizeBytes = integer(1);

const fields = object<VmmFlags>({
  httpApiMaxPayloadSizeBytes: sizeBytes,
  mmdsSizeLimitBytes: sizeBytes,
  seccompFilterPath: hostPath,
  noSeccomp: flag,
  bootTimer: flag,
  enablePci: flag,
  metadataPath: hostPath,
  logPath: hostPath,
  level: oneOf('Error', 'Warning', 'Info', 'Debug', 'Trace', 'Off'),
  module: text({ maxBytes: 1024 }),
  showLevel: flag,
  showLogOrigin: flag,
});

const vmmFlags: Check = (value, path, report) => {
  fields(value, path, report);
  if (isRecord(value) && value.noSeccomp === true && value.seccompFilterPath !== undefined) {
    report(`${path}.noSeccomp`, 'must be absent where there is a seccompFilterPath');
  }
};

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertVmmFlags(flags: VmmFlags): void {
  assertOptions(vmmFlags, flags, 'vmmFlags');
}

const NAMES: Readonly<Record<keyof VmmFlags, string>> = {
  httpApiMaxPayloadSizeBytes: '--http-api-max-payload-size',
  mmdsSizeLimitBytes: '--mmds-size-limit',
  seccompFilterPath: '--seccomp-filter',
  noSeccomp: '--no-seccomp',
  bootTimer: '--boot-timer',
  enablePci: '--enable-pci',
  metadataPath: '--metadata',
  logPath: '--log-path',
  level: '--level',
  module: '--module',
  showLevel: '--show-level',
  showLogOrigin: '--show-log-origin',
};

/** As `configPaths`, for the flags. */
export function flagPaths({ seccompFilterPath, metadataPath, logPath }: VmmFlags): HostPath[] {
  const paths = [
    { path: seccompFilterPath, access: 'read' },
    { path: metadataPath, access: 'read' },
    { path: logPath, access: 'create' },
  ] as const;
  return paths.flatMap(({ path, access }) => (path === undefined ? [] : [{ path, access }]));
}

/**
 * The argument vector for these flags. Without a logger Firecracker logs to stdout, in the middle of the guest's console:
 * unless the API will set one up, which it takes once, it logs to its standard error.
 * @param stderrPath how the VMM can open that
 */
export function vmmArguments(flags: VmmFlags, hasLogger: boolean, stderrPath = '/dev/stderr'): string[] {
  const logging = hasLogger ? {} : { logPath: stderrPath, level: 'Warning' as const };
  return Object.entries({ ...logging, ...flags }).flatMap(([name, value]) => {
    const argument = NAMES[name as keyof VmmFlags];
    if (typeof value === 'boolean') {
      return value ? [argument] : [];
    }
    return value === undefined ? [] : [argument, String(value)];
  });
}
