import { boolean, converted, type Decoded, defaulted, oneOf, optional, string, struct } from './decoder.js';
import { u8, u16, u32, u64, usize } from './integers.js';

/** The JSON bodies of the API. Field order matters: serde lists the expected fields in it and GET answers keep it. */

export const tokenBucket = struct(
  'TokenBucketConfig',
  { size: u64, one_time_burst: optional(u64), refill_time: u64 },
  'ignore',
);

export const rateLimiter = struct(
  'RateLimiterConfig',
  { bandwidth: optional(tokenBucket), ops: optional(tokenBucket) },
  'refuse',
);

export const instanceAction = struct(
  'ActionBody',
  { action_type: oneOf('FlushMetrics', 'InstanceStart', 'SendCtrlAltDel') },
  'refuse',
);

export const vmState = struct('Vm', { state: oneOf('Paused', 'Resumed') }, 'refuse');

export const bootSource = struct(
  'BootSourceConfig',
  { kernel_image_path: string, initrd_path: optional(string), boot_args: optional(string) },
  'refuse',
);

const cpuTemplate = defaulted(optional(oneOf('C3', 'T2', 'T2S', 'None', 'T2CL', 'T2A')), null);
const hugePages = oneOf('None', 'Transparent', '2M');

export const machineConfig = struct(
  'MachineConfig',
  {
    vcpu_count: u8,
    mem_size_mib: usize,
    smt: defaulted(boolean, false),
    cpu_template: cpuTemplate,
    track_dirty_pages: defaulted(boolean, false),
    huge_pages: defaulted(hugePages, 'None'),
  },
  'refuse',
);

export const machineConfigUpdate = struct(
  'MachineConfigUpdate',
  {
    vcpu_count: defaulted(optional(u8), null),
    mem_size_mib: defaulted(optional(usize), null),
    smt: defaulted(optional(boolean), null),
    cpu_template: cpuTemplate,
    track_dirty_pages: defaulted(optional(boolean), null),
    huge_pages: defaulted(optional(hugePages), null),
  },
  'refuse',
);

export const drive = struct(
  'BlockDeviceConfig',
  {
    drive_id: string,
    partuuid: optional(string),
    is_root_device: boolean,
    cache_type: defaulted(oneOf('Unsafe', 'Writeback'), 'Unsafe'),
    is_read_only: optional(boolean),
    path_on_host: optional(string),
    rate_limiter: optional(rateLimiter),
    io_engine: optional(oneOf('Async', 'Sync')),
    socket: optional(string),
  },
  'refuse',
);

export const driveUpdate = struct(
  'BlockDeviceUpdateConfig',
  { drive_id: string, path_on_host: optional(string), rate_limiter: optional(rateLimiter) },
  'refuse',
);

/** Firecracker's parser takes a sign before the second digit of a pair, as Rust's `from_str_radix` does. */
const macAddress = converted((text) => {
  const pairs = text.split(':');
  return pairs.length === 6 && pairs.every((pair) => /^(?:[0-9a-f]{2}|\+[0-9a-f])$/i.test(pair))
    ? pairs.map((pair) => Number.parseInt(pair, 16).toString(16).padStart(2, '0')).join(':')
    : undefined;
}, 'The provided MAC address is invalid.');

export const networkInterface = struct(
  'NetworkInterfaceConfig',
  {
    iface_id: string,
    host_dev_name: string,
    guest_mac: optional(macAddress),
    mtu: optional(u16),
    rx_rate_limiter: optional(rateLimiter),
    tx_rate_limiter: optional(rateLimiter),
  },
  'refuse',
);

export const networkInterfaceUpdate = struct(
  'NetworkInterfaceUpdateConfig',
  { iface_id: string, rx_rate_limiter: optional(rateLimiter), tx_rate_limiter: optional(rateLimiter) },
  'refuse',
);

export const vsock = struct(
  'VsockDeviceConfig',
  { vsock_id: optional(string), guest_cid: u32, uds_path: string },
  'refuse',
);

export type TokenBucket = Decoded<typeof tokenBucket>;
export type RateLimiter = Decoded<typeof rateLimiter>;
export type BootSource = Decoded<typeof bootSource>;
export type MachineConfig = Decoded<typeof machineConfig>;
export type MachineConfigUpdate = Decoded<typeof machineConfigUpdate>;
export type Drive = Decoded<typeof drive>;
export type DriveUpdate = Decoded<typeof driveUpdate>;
export type NetworkInterface = Decoded<typeof networkInterface>;
export type NetworkInterfaceUpdate = Decoded<typeof networkInterfaceUpdate>;
export type Vsock = Decoded<typeof vsock>;
