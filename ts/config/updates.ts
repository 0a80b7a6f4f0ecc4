import { isValidResourceId, RESOURCE_ID_RULE } from './ids.js';
import { compact, rateLimiterPayload } from './payloads.js';
import type { IRateLimiter } from './types.js';
import { assertOptions } from './validation/assert-options.js';
import { type Check, flag, hostPath, integer, object, oneOf, rule } from './validation/checks.js';
import { rateLimiter } from './validation/rate-limiter.js';

// What can be changed of a running VM: in camelCase as it is given, checked, and made into what the API takes.
// Of a rate limiter, a bucket that is absent stays as it is, and one of size 0 takes the limit off.

export interface DriveUpdate {
  driveId: string;
  /** Another file or device. The guest is told of its size; what it has cached of the old one, it keeps. */
  pathOnHost?: string;
  rateLimiter?: IRateLimiter;
}

export interface PmemUpdate {
  id: string;
  rateLimiter?: IRateLimiter;
}

export interface NetworkInterfaceUpdate {
  ifaceId: string;
  /** Limits what the guest receives. */
  rxRateLimiter?: IRateLimiter;
  /** Limits what the guest sends. */
  txRateLimiter?: IRateLimiter;
}

export interface BalloonUpdate {
  /** Target size in MiB. The guest gives as much as it can. */
  amountMib: number;
}

export interface BalloonStatisticsUpdate {
  /** Seconds between statistics, at most 65535. A balloon made without statistics has none, and cannot be given them. */
  statsPollingIntervalS: number;
}

export interface BalloonHintingOptions {
  /** The VMM takes the run for ended when the guest says it is done. Default true. */
  acknowledgeOnStop?: boolean;
}

export interface MemoryHotplugUpdate {
  /** MiB that the guest shall have on top of its memory: a multiple of `blockSizeMib`, at most `totalSizeMib`. */
  requestedSizeMib: number;
}

export interface SnapshotOptions {
  /** Where the VMM's state goes. */
  snapshotPath: string;
  /** Where the guest's memory goes. A 'Diff' into the file of an earlier snapshot is merged with it. */
  memFilePath: string;
  /** 'Diff' has the pages written since the last snapshot. Default 'Full'. */
  type?: 'Full' | 'Diff';
  /** Whether a VM that had to be paused runs on afterwards. One that was paused stays so. Default true. */
  resume?: boolean;
  /** Most milliseconds, by the size of the memory and the disk. Default 300,000. */
  timeoutMs?: number;
}

const resourceId = rule(isValidResourceId, RESOURCE_ID_RULE);
const MAX_MIB = 2 ** 32 - 1;

const CHECKS = {
  drive: object<DriveUpdate>({ driveId: resourceId, pathOnHost: hostPath, rateLimiter }, ['driveId']),
  pmem: object<PmemUpdate>({ id: resourceId, rateLimiter }, ['id']),
  networkInterface: object<NetworkInterfaceUpdate>(
    { ifaceId: resourceId, rxRateLimiter: rateLimiter, txRateLimiter: rateLimiter },
    ['ifaceId'],
  ),
  balloon: object<BalloonUpdate>({ amountMib: integer(0, MAX_MIB) }, ['amountMib']),
  balloonStatistics: object<BalloonStatisticsUpdate>({ statsPollingIntervalS: integer(0, 65_535) }, [
    'statsPollingIntervalS',
  ]),
  balloonHinting: object<BalloonHintingOptions>({ acknowledgeOnStop: flag }),
  memoryHotplug: object<MemoryHotplugUpdate>({ requestedSizeMib: integer(0, MAX_MIB) }, ['requestedSizeMib']),
  snapshot: object<SnapshotOptions>(
    {
      snapshotPath: hostPath,
      memFilePath: hostPath,
      type: oneOf('Full', 'Diff'),
      resume: flag,
      timeoutMs: integer(0),
    },
    ['snapshotPath', 'memFilePath'],
  ),
} as const satisfies Record<string, Check>;

function checked<T>(name: keyof typeof CHECKS, update: T): T {
  assertOptions(CHECKS[name], update, name);
  return update;
}

/** @throws SmartVMError INVALID_OPTION, as all of these do */
export function driveUpdatePayload(given: DriveUpdate) {
  const update = checked('drive', given);
  return compact({
    drive_id: update.driveId,
    path_on_host: update.pathOnHost,
    rate_limiter: update.rateLimiter && rateLimiterPayload(update.rateLimiter),
  });
}

export function pmemUpdatePayload(given: PmemUpdate) {
  const update = checked('pmem', given);
  return compact({ id: update.id, rate_limiter: update.rateLimiter && rateLimiterPayload(update.rateLimiter) });
}

export function networkInterfaceUpdatePayload(given: NetworkInterfaceUpdate) {
  const update = checked('networkInterface', given);
  return compact({
    iface_id: update.ifaceId,
    rx_rate_limiter: update.rxRateLimiter && rateLimiterPayload(update.rxRateLimiter),
    tx_rate_limiter: update.txRateLimiter && rateLimiterPayload(update.txRateLimiter),
  });
}

export function balloonUpdatePayload(given: BalloonUpdate) {
  return { amount_mib: checked('balloon', given).amountMib };
}

export function balloonStatisticsPayload(given: BalloonStatisticsUpdate) {
  return { stats_polling_interval_s: checked('balloonStatistics', given).statsPollingIntervalS };
}

export function balloonHintingPayload(given: BalloonHintingOptions) {
  return compact({ acknowledge_on_stop: checked('balloonHinting', given).acknowledgeOnStop });
}

export function memoryHotplugUpdatePayload(given: MemoryHotplugUpdate) {
  return { requested_size_mib: checked('memoryHotplug', given).requestedSizeMib };
}

export function snapshotPayload(given: SnapshotOptions) {
  const { snapshotPath, memFilePath, type } = checked('snapshot', given);
  return compact({ snapshot_path: snapshotPath, mem_file_path: memFilePath, snapshot_type: type });
}
