import { isIPv4 } from 'node:net';
import { rateLimiter, tokenBucket } from './bodies.js';
import {
  boolean,
  converted,
  type Decoded,
  type Decoder,
  defaulted,
  list,
  mapOf,
  oneOf,
  optional,
  path,
  string,
  struct,
} from './decoder.js';
import { u16, u32 } from './integers.js';
import { refuse } from './refusal.js';

/** The JSON bodies of the devices that are not drives or network interfaces, and of the logger and the metrics. */

export const balloon = struct(
  'BalloonDeviceConfig',
  {
    amount_mib: u32,
    deflate_on_oom: boolean,
    stats_polling_interval_s: defaulted(u16, 0),
    free_page_hinting: defaulted(boolean, false),
    free_page_reporting: defaulted(boolean, false),
  },
  'refuse',
);

export const balloonUpdate = struct('BalloonUpdateConfig', { amount_mib: u32 }, 'refuse');

export const balloonStatsUpdate = struct('BalloonUpdateStatsConfig', { stats_polling_interval_s: u16 }, 'refuse');

export const startHinting = struct('StartHintingCmd', { acknowledge_on_stop: defaulted(boolean, true) }, 'ignore');

export const entropy = struct('EntropyDeviceConfig', { rate_limiter: optional(rateLimiter) }, 'refuse');

export const serial = struct(
  'SerialConfig',
  { serial_out_path: optional(path), rate_limiter: optional(tokenBucket) },
  'refuse',
);

/** The log levels by their names in the log, least first. */
export const LOG_LEVELS = ['OFF', 'ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Firecracker takes the names in any case, and WARNING for WARN. */
export function parseLogLevel(text: string): LogLevel | undefined {
  const name = text.toUpperCase();
  return LOG_LEVELS.find((level) => level === name || (level === 'WARN' && name === 'WARNING'));
}

export const logger = struct(
  'LoggerConfig',
  {
    log_path: optional(path),
    level: optional(converted(parseLogLevel, 'Invalid LevelFilter')),
    show_level: optional(boolean),
    show_log_origin: optional(boolean),
    module: optional(string),
  },
  'refuse',
);

export const metrics = struct(
  'MetricsConfig',
  { metrics_path: path, emit_id: defaulted(boolean, false), properties: defaulted(optional(mapOf(string)), null) },
  'ignore',
);

const ipv4Address: Decoder<string> = {
  read(json) {
    const text = json.peek() === '"' ? json.string() : refuse(json, 'IPv4 address');
    if (!isIPv4(text)) {
      throw json.error('invalid IPv4 address syntax');
    }
    return text;
  },
};

export const mmdsConfig = struct(
  'MmdsConfig',
  {
    version: defaulted(oneOf('V1', 'V2'), 'V1'),
    network_interfaces: list(string),
    ipv4_address: optional(ipv4Address),
    imds_compat: defaulted(boolean, false),
  },
  'refuse',
);

export const pmem = struct(
  'PmemConfig',
  {
    id: string,
    path_on_host: string,
    root_device: defaulted(boolean, false),
    read_only: defaulted(boolean, false),
    rate_limiter: optional(rateLimiter),
  },
  'refuse',
);

export const pmemUpdate = struct(
  'PmemDeviceUpdateConfig',
  { id: string, rate_limiter: optional(rateLimiter) },
  'refuse',
);

export const memoryHotplug = struct(
  'MemoryHotplugConfig',
  { total_size_mib: u32, block_size_mib: defaulted(u32, 2), slot_size_mib: defaulted(u32, 128) },
  'refuse',
);

export const memoryHotplugUpdate = struct('MemoryHotplugSizeUpdate', { requested_size_mib: u32 }, 'refuse');

export type Balloon = Decoded<typeof balloon>;
export type Entropy = Decoded<typeof entropy>;
export type Serial = Decoded<typeof serial>;
export type Logger = Decoded<typeof logger>;
export type Metrics = Decoded<typeof metrics>;
export type MmdsConfig = Decoded<typeof mmdsConfig>;
export type Pmem = Decoded<typeof pmem>;
export type PmemUpdate = Decoded<typeof pmemUpdate>;
export type MemoryHotplug = Decoded<typeof memoryHotplug>;
