import type { ICpuConfig, IEntropyConfig, IMemoryHotplugConfig, IPmemConfig, ISerialConfig } from './device-types.js';

/**
 * The configuration of a microVM: Firecracker's API in camelCase, with the units in the names.
 * Bounds are Firecracker's own (its API description and sources, 1.17) unless a comment says otherwise.
 */
export interface IMicroVMConfig {
  /** 1 to 64 letters, digits or hyphens, a letter or digit first. A random one is taken when absent. */
  id?: string;
  bootSource: IBootSource;
  machineConfig?: IMachineConfig;
  /** A custom CPU template. Firecracker ≥ 1.4. */
  cpuConfig?: ICpuConfig;
  /** At most one of them is the root device. */
  drives?: IDriveConfig[];
  /** Files that the guest sees as persistent memory. Firecracker ≥ 1.14. */
  pmem?: IPmemConfig[];
  networkInterfaces?: INetworkInterfaceConfig[];
  vsock?: IVsockConfig;
  balloon?: IBalloonConfig;
  /** A source of random numbers. Firecracker ≥ 1.4. */
  entropy?: IEntropyConfig;
  /** Where the guest's serial port writes to, in place of the VM's console. Firecracker ≥ 1.14. */
  serial?: ISerialConfig;
  /** Memory that the guest can be given while it runs. Firecracker ≥ 1.14. */
  memoryHotplug?: IMemoryHotplugConfig;
  mmds?: IMmdsConfig;
  logger?: ILoggerConfig;
  metrics?: IMetricsConfig;
}

/** What can be said of a VM that starts from a snapshot; the rest is in the snapshot. */
export interface IRestoredMicroVMConfig {
  id?: string;
  serial?: ISerialConfig;
  /** Which interfaces reach the metadata service is in the snapshot; what it holds is not. */
  mmds?: Required<Pick<IMmdsConfig, 'contents'>>;
  logger?: ILoggerConfig;
  metrics?: IMetricsConfig;
}

/** The kernel to boot. Paths are on the host. */
export interface IBootSource {
  /** An uncompressed ELF `vmlinux` on x86_64, an `Image` on aarch64. */
  kernelImagePath: string;
  initrdPath?: string;
  /** Kernel command line, at most 2047 bytes: the kernel's buffer of 2048 less its NUL. The VMM's own default when absent. */
  bootArgs?: string;
}

/** @deprecated by Firecracker, and still taken by it. */
export type CpuTemplate = 'C3' | 'T2' | 'T2S' | 'T2CL' | 'T2A' | 'V1N1' | 'None';

/** '2M' is Firecracker ≥ 1.7, 'Transparent' ≥ 1.17. */
export type HugePages = 'None' | 'Transparent' | '2M';

export interface IMachineConfig {
  /** Virtual CPUs, 1 to 32; 1 or an even number with `smt`. Default 1. */
  vcpuCount?: number;
  /** Guest memory in MiB, at least 1; a multiple of 2 with huge pages. Default 256. */
  memSizeMib?: number;
  /** Simultaneous multithreading, x86_64 only. */
  smt?: boolean;
  cpuTemplate?: CpuTemplate;
  /** Needed for differential snapshots. */
  trackDirtyPages?: boolean;
  /** What backs guest memory. '2M' takes pages from the host's hugetlbfs pool. */
  hugePages?: HugePages;
}

export interface IDriveConfig {
  /** 1 to 64 letters, digits or underscores, unique among the drives. */
  driveId: string;
  /** File or block device on the host. Either this or `socket`. */
  pathOnHost?: string;
  /** Unix socket of a vhost-user-block backend, at most 107 bytes. Excludes `pathOnHost`, `isReadOnly`, `rateLimiter` and `ioEngine`. Firecracker ≥ 1.6. */
  socket?: string;
  /** Default false. */
  isRootDevice?: boolean;
  /** Default false. */
  isReadOnly?: boolean;
  /** Boot partition, looked at on the root device only. */
  partuuid?: string;
  /** 'Writeback' honours the guest's flushes; 'Unsafe' does not, and is the VMM's default. */
  cacheType?: 'Unsafe' | 'Writeback';
  /** 'Async' is io_uring. The VMM's default is 'Sync'. */
  ioEngine?: 'Sync' | 'Async';
  rateLimiter?: IRateLimiter;
}

export interface INetworkInterfaceConfig {
  /** 1 to 64 letters, digits or underscores, unique among the interfaces. */
  ifaceId: string;
  /** TAP on the host, 1 to 15 characters. Whoever starts the VM names one when absent. */
  hostDevName?: string;
  /** Unicast, six hexadecimal pairs joined by colons, unique among the interfaces. */
  guestMac?: string;
  /** Bytes, 68 to 65535; advertised to the guest. Firecracker ≥ 1.16. */
  mtu?: number;
  /** Limits what the guest receives. */
  rxRateLimiter?: IRateLimiter;
  /** Limits what the guest sends. */
  txRateLimiter?: IRateLimiter;
}

/** Independent limits on bytes and on operations; an absent one does not limit. */
export interface IRateLimiter {
  /** Tokens are bytes. */
  bandwidth?: ITokenBucket;
  /** Tokens are operations. */
  ops?: ITokenBucket;
}

/** A bucket of `size` tokens that refills in `refillTime`. A zero in either turns the limit off. */
export interface ITokenBucket {
  /** Tokens that the bucket holds. */
  size: number;
  /** Milliseconds to refill an empty bucket, at most 18446744073709: beyond, the VMM drops the limit without a word. */
  refillTime: number;
  /** Tokens on top of `size`, spent first and never refilled. */
  oneTimeBurst?: number;
}

export interface IVsockConfig {
  /** The guest's context id, 3 to 4294967294: the kernel reserves 0, 1, 2 and the last. */
  guestCid: number;
  /** Unix socket on the host, at most 101 bytes: it leaves room for the `_<port>` of guest-initiated connections. */
  udsPath: string;
}

export interface IBalloonConfig {
  /** Target size in MiB, at most the guest's memory. */
  amountMib: number;
  /** A guest short of memory takes it back from the balloon. Default true. */
  deflateOnOom?: boolean;
  /** Seconds between statistics, 0 to 65535; 0 turns them off. */
  statsPollingIntervalS?: number;
  /** The guest can be asked which pages it does not use. Firecracker ≥ 1.14. */
  freePageHinting?: boolean;
  /** The guest tells of pages that it does not use, and the host takes them back. Firecracker ≥ 1.14. */
  freePageReporting?: boolean;
}

export interface IMmdsConfig {
  /** 'V2' asks for a session token. Default 'V2', where Firecracker's own is 'V1'. */
  version?: 'V1' | 'V2';
  /** `ifaceId`s of the interfaces that reach the metadata service, at least one. */
  networkInterfaces: string[];
  /** Link-local, 169.254.1.0 to 169.254.254.255. The VMM's default is 169.254.169.254. */
  ipv4Address?: string;
  /** Answers as EC2's service does, whatever the Accept header says. Firecracker ≥ 1.13. */
  imdsCompat?: boolean;
  /** What the service holds when the guest starts: an object of JSON values, by default at most 51,200 bytes of it. */
  contents?: Record<string, unknown>;
}

export type LogLevel = 'Error' | 'Warning' | 'Info' | 'Debug' | 'Trace' | 'Off';

export interface ILoggerConfig {
  /** Named pipe or file. Default: a named pipe of the VM's own, which `vm.logs()` reads. */
  logPath?: string;
  level?: LogLevel;
  showLevel?: boolean;
  /** File and line of the VMM's source in each message. */
  showLogOrigin?: boolean;
  /** Keeps only messages of this module path, e.g. `api_server::request`. Firecracker ≥ 1.6. */
  module?: string;
}

export interface IMetricsConfig {
  /** Named pipe or file; one line of JSON a flush. Default: a named pipe of the VM's own, which `vm.metrics()` reads. */
  metricsPath?: string;
  /** Puts the VM's id into each line. Firecracker ≥ 1.17. */
  emitId?: boolean;
  /** Put under `properties` in each line. Firecracker ≥ 1.17. */
  properties?: Record<string, string>;
}
