import { BALLOON_DEFAULTS, DRIVE_DEFAULTS, type IMachineConfigWithDefaults, MMDS_DEFAULTS } from './defaults.js';
import type {
  CpuTemplate,
  HugePages,
  IBalloonConfig,
  IBootSource,
  IDriveConfig,
  ILoggerConfig,
  IMetricsConfig,
  IMmdsConfig,
  INetworkInterfaceConfig,
  IRateLimiter,
  ITokenBucket,
  IVsockConfig,
  LogLevel,
} from './types.js';

export interface BootSourcePayload {
  kernel_image_path: string;
  initrd_path?: string;
  boot_args?: string;
}

export interface MachineConfigPayload {
  vcpu_count: number;
  mem_size_mib: number;
  smt?: boolean;
  cpu_template?: CpuTemplate;
  track_dirty_pages?: boolean;
  huge_pages?: HugePages;
}

export interface TokenBucketPayload {
  size: number;
  refill_time: number;
  one_time_burst?: number;
}

export interface RateLimiterPayload {
  bandwidth?: TokenBucketPayload;
  ops?: TokenBucketPayload;
}

export interface DrivePayload {
  drive_id: string;
  path_on_host?: string;
  socket?: string;
  is_root_device: boolean;
  is_read_only?: boolean;
  partuuid?: string;
  cache_type?: 'Unsafe' | 'Writeback';
  io_engine?: 'Sync' | 'Async';
  rate_limiter?: RateLimiterPayload;
}

export interface NetworkInterfacePayload {
  iface_id: string;
  host_dev_name: string;
  guest_mac?: string;
  mtu?: number;
  rx_rate_limiter?: RateLimiterPayload;
  tx_rate_limiter?: RateLimiterPayload;
}

/** An interface whose TAP has no name yet: the VMM would refuse it, and so does the type of its call. */
export type UnboundNetworkInterfacePayload = Omit<NetworkInterfacePayload, 'host_dev_name'> & {
  host_dev_name?: string;
};

export interface VsockPayload {
  guest_cid: number;
  uds_path: string;
}

export interface BalloonPayload {
  amount_mib: number;
  deflate_on_oom: boolean;
  stats_polling_interval_s?: number;
  free_page_hinting?: boolean;
  free_page_reporting?: boolean;
}

export interface MmdsConfigPayload {
  version: 'V1' | 'V2';
  network_interfaces: string[];
  ipv4_address?: string;
  imds_compat?: boolean;
}

export interface LoggerPayload {
  log_path?: string;
  level?: LogLevel;
  show_level?: boolean;
  show_log_origin?: boolean;
  module?: string;
}

export interface MetricsPayload {
  metrics_path: string;
  emit_id?: boolean;
  properties?: Record<string, string>;
}

export function bootSourcePayload(boot: IBootSource): BootSourcePayload {
  return compact({
    kernel_image_path: boot.kernelImagePath,
    initrd_path: boot.initrdPath,
    boot_args: boot.bootArgs,
  });
}

export function machineConfigPayload(machine: IMachineConfigWithDefaults): MachineConfigPayload {
  return compact({
    vcpu_count: machine.vcpuCount,
    mem_size_mib: machine.memSizeMib,
    smt: machine.smt,
    cpu_template: machine.cpuTemplate,
    track_dirty_pages: machine.trackDirtyPages,
    huge_pages: machine.hugePages,
  });
}

export function drivePayload(drive: IDriveConfig): DrivePayload {
  // A vhost-user backend decides by itself whether it can be written, and the VMM refuses to be told.
  const readOnlyDefault = drive.socket === undefined ? DRIVE_DEFAULTS.isReadOnly : undefined;
  return compact({
    drive_id: drive.driveId,
    path_on_host: drive.pathOnHost,
    socket: drive.socket,
    is_root_device: drive.isRootDevice ?? DRIVE_DEFAULTS.isRootDevice,
    is_read_only: drive.isReadOnly ?? readOnlyDefault,
    partuuid: drive.partuuid,
    cache_type: drive.cacheType,
    io_engine: drive.ioEngine,
    rate_limiter: drive.rateLimiter && rateLimiterPayload(drive.rateLimiter),
  });
}

export function networkInterfacePayload(iface: INetworkInterfaceConfig): UnboundNetworkInterfacePayload {
  return compact({
    iface_id: iface.ifaceId,
    host_dev_name: iface.hostDevName,
    guest_mac: iface.guestMac,
    mtu: iface.mtu,
    rx_rate_limiter: iface.rxRateLimiter && rateLimiterPayload(iface.rxRateLimiter),
    tx_rate_limiter: iface.txRateLimiter && rateLimiterPayload(iface.txRateLimiter),
  });
}

export function rateLimiterPayload(limiter: IRateLimiter): RateLimiterPayload {
  return compact({
    bandwidth: limiter.bandwidth && tokenBucketPayload(limiter.bandwidth),
    ops: limiter.ops && tokenBucketPayload(limiter.ops),
  });
}

export function tokenBucketPayload(bucket: ITokenBucket): TokenBucketPayload {
  return compact({ size: bucket.size, refill_time: bucket.refillTime, one_time_burst: bucket.oneTimeBurst });
}

export function vsockPayload(vsock: IVsockConfig): VsockPayload {
  return { guest_cid: vsock.guestCid, uds_path: vsock.udsPath };
}

export function balloonPayload(balloon: IBalloonConfig): BalloonPayload {
  return compact({
    amount_mib: balloon.amountMib,
    deflate_on_oom: balloon.deflateOnOom ?? BALLOON_DEFAULTS.deflateOnOom,
    stats_polling_interval_s: balloon.statsPollingIntervalS,
    free_page_hinting: balloon.freePageHinting,
    free_page_reporting: balloon.freePageReporting,
  });
}

export function mmdsConfigPayload(mmds: IMmdsConfig): MmdsConfigPayload {
  return compact({
    version: mmds.version ?? MMDS_DEFAULTS.version,
    network_interfaces: [...mmds.networkInterfaces],
    ipv4_address: mmds.ipv4Address,
    imds_compat: mmds.imdsCompat,
  });
}

export function loggerPayload(logger: Omit<ILoggerConfig, 'logPath'> & { logPath: string | undefined }): LoggerPayload {
  return compact({
    log_path: logger.logPath,
    level: logger.level,
    show_level: logger.showLevel,
    show_log_origin: logger.showLogOrigin,
    module: logger.module,
  });
}

export function metricsPayload(metrics: IMetricsConfig & { metricsPath: string }): MetricsPayload {
  return compact({
    metrics_path: metrics.metricsPath,
    emit_id: metrics.emitId,
    properties: metrics.properties && { ...metrics.properties },
  });
}

type Compact<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Leaves undefined fields out: an API that refuses unknown fields of older versions need not hear of unused ones. */
export function compact<T extends object>(fields: T): Compact<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Compact<T>;
}
