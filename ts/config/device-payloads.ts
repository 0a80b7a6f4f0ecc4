import type { ICpuConfig, IEntropyConfig, IMemoryHotplugConfig, IPmemConfig, ISerialConfig } from './device-types.js';
import {
  compact,
  type RateLimiterPayload,
  rateLimiterPayload,
  type TokenBucketPayload,
  tokenBucketPayload,
} from './payloads.js';

export interface CpuConfigPayload {
  kvm_capabilities?: string[];
  cpuid_modifiers?: {
    leaf: string;
    subleaf: string;
    flags: number;
    modifiers: { register: 'eax' | 'ebx' | 'ecx' | 'edx'; bitmap: string }[];
  }[];
  msr_modifiers?: { addr: string; bitmap: string }[];
  reg_modifiers?: { addr: string; bitmap: string }[];
  vcpu_features?: { index: number; bitmap: string }[];
}

export interface PmemPayload {
  id: string;
  path_on_host: string;
  root_device?: boolean;
  read_only?: boolean;
  rate_limiter?: RateLimiterPayload;
}

export interface EntropyPayload {
  rate_limiter?: RateLimiterPayload;
}

export interface SerialPayload {
  serial_out_path?: string;
  rate_limiter?: TokenBucketPayload;
}

export interface MemoryHotplugPayload {
  total_size_mib: number;
  slot_size_mib?: number;
  block_size_mib?: number;
}

/** Its inner fields have the same names on both sides. */
export function cpuConfigPayload(cpu: ICpuConfig): CpuConfigPayload {
  return structuredClone(
    compact({
      kvm_capabilities: cpu.kvmCapabilities,
      cpuid_modifiers: cpu.cpuidModifiers,
      msr_modifiers: cpu.msrModifiers,
      reg_modifiers: cpu.regModifiers,
      vcpu_features: cpu.vcpuFeatures,
    }),
  );
}

export function pmemPayload(device: IPmemConfig): PmemPayload {
  return compact({
    id: device.id,
    path_on_host: device.pathOnHost,
    root_device: device.isRootDevice,
    read_only: device.isReadOnly,
    rate_limiter: device.rateLimiter && rateLimiterPayload(device.rateLimiter),
  });
}

export function entropyPayload(entropy: IEntropyConfig): EntropyPayload {
  return compact({ rate_limiter: entropy.rateLimiter && rateLimiterPayload(entropy.rateLimiter) });
}

export function serialPayload(serial: ISerialConfig): SerialPayload {
  return compact({
    serial_out_path: serial.serialOutPath,
    rate_limiter: serial.rateLimiter && tokenBucketPayload(serial.rateLimiter),
  });
}

export function memoryHotplugPayload(memory: IMemoryHotplugConfig): MemoryHotplugPayload {
  return compact({
    total_size_mib: memory.totalSizeMib,
    slot_size_mib: memory.slotSizeMib,
    block_size_mib: memory.blockSizeMib,
  });
}
