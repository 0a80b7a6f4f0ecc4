import { assertOptions } from './validation/assert-options.js';
import { type Check, hostPath, integer, isRecord, object, oneOf } from './validation/checks.js';

/** How VMMs are shut in. */
export interface JailOptions {
  /** Default: the jailer beside Firecracker, or on PATH. It must have Firecracker's version. */
  jailerBinaryPath?: string | undefined;
  /** A uid, and the gid of the same number, for each VM. Default: 65,536 from 1,900,000,000 on. */
  uidRange?: { first: number; count: number } | undefined;
  /** What a VMM may take of the host. `none` leaves cgroups alone, for hosts that do not give them to us. */
  cgroups?: 'limited' | 'none' | undefined;
  limits?: JailLimits | undefined;
}

/** Limits of one VMM. */
export interface JailLimits {
  /** Memory in MiB that the VMM may take beside its guest's. Default: by the VMM. */
  memoryOverheadMib?: number | undefined;
  /** CPU time in percent of one CPU. Default: 100 for each virtual CPU, and 100 for the VMM's own threads. */
  cpuPercent?: number | undefined;
  /** Processes and threads. Default 256. */
  pids?: number | undefined;
  /** Bytes per second to and from each disk that holds a file of the VM. Default: no limit. */
  ioBytesPerSecond?: number | undefined;
  /** Operations per second, likewise. Default: no limit. */
  ioOperationsPerSecond?: number | undefined;
  /** Open files. Default 4,096. */
  openFiles?: number | undefined;
  /** Largest file in MiB that the VMM may write. Default 1 TiB. */
  fileSizeMib?: number | undefined;
}

/** Above all that distributions, systemd (see its docs/UIDS-GIDS.md) and subuid(5) hand out, and below 2^31. */
export const DEFAULT_UID_RANGE = { first: 1_900_000_000, count: 65_536 };
const MAX_UID = 2 ** 32 - 3;

const fields = object<JailOptions>({
  jailerBinaryPath: hostPath,
  uidRange: object<{ first: number; count: number }>({ first: integer(1, MAX_UID), count: integer(1, MAX_UID) }, [
    'first',
    'count',
  ]),
  cgroups: oneOf('limited', 'none'),
  limits: object<JailLimits>({
    memoryOverheadMib: integer(1),
    cpuPercent: integer(1),
    pids: integer(1),
    ioBytesPerSecond: integer(1),
    ioOperationsPerSecond: integer(1),
    openFiles: integer(64),
    fileSizeMib: integer(1),
  }),
});

const jailOptions: Check = (value, path, report) => {
  fields(value, path, report);
  if (isRecord(value) && isRecord(value.uidRange)) {
    const { first, count } = value.uidRange;
    if (typeof first === 'number' && typeof count === 'number' && first + count - 1 > MAX_UID) {
      report(`${path}.uidRange`, `must end at ${MAX_UID} or below`);
    }
  }
};

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertJailOptions(options: unknown): void {
  if (typeof options !== 'boolean') {
    assertOptions(jailOptions, options, 'jail');
  }
}
