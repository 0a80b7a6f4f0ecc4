import type { IRateLimiter, ITokenBucket } from './types.js';

export interface IPmemConfig {
  /** 1 to 64 letters, digits or underscores, unique among the pmem devices. */
  id: string;
  /** File on the host that is mapped into the guest. Its size is rounded up to 2 MiB. */
  pathOnHost: string;
  /** Boots from it: at most one of all drives and pmem devices. Default false. */
  isRootDevice?: boolean;
  /** Default false. */
  isReadOnly?: boolean;
  /** Limits what the guest's flushes write. Firecracker ≥ 1.16. */
  rateLimiter?: IRateLimiter;
}

export interface IEntropyConfig {
  /** Tokens of `bandwidth` are bytes, those of `ops` requests. */
  rateLimiter?: IRateLimiter;
}

export interface ISerialConfig {
  /** Named pipe or file. It is written to without bound. */
  serialOutPath?: string;
  /** Tokens are bytes; what the guest writes beyond is dropped. Firecracker ≥ 1.16. */
  rateLimiter?: ITokenBucket;
}

export interface IMemoryHotplugConfig {
  /** Most MiB that the guest can be given on top of its memory; a multiple of `slotSizeMib`. */
  totalSizeMib: number;
  /** MiB in which the host gives memory: at least 128, a multiple of `blockSizeMib`. Default 128. */
  slotSizeMib?: number;
  /** MiB in which the guest takes memory: at least 2, a power of 2. Default 2. */
  blockSizeMib?: number;
}

/**
 * A custom CPU template: what is changed in the CPU that the guest sees. Bitmaps are strings like `0b1x0`: a bit that is
 * set, left as it is, or cleared; addresses are numbers in strings, hexadecimal by `0x` or binary by `0b`.
 */
export interface ICpuConfig {
  /** Numbers of KVM capabilities to require, or with a `!` not to. Firecracker ≥ 1.5. */
  kvmCapabilities?: string[];
  /** x86_64. */
  cpuidModifiers?: ICpuidModifier[];
  /** x86_64. */
  msrModifiers?: IRegisterModifier[];
  /** aarch64. */
  regModifiers?: IRegisterModifier[];
  /** aarch64. Firecracker ≥ 1.5. */
  vcpuFeatures?: IVcpuFeature[];
}

export interface ICpuidModifier {
  leaf: string;
  subleaf: string;
  /** KVM's flags of the leaf, such as 1 for a significant subleaf. */
  flags: number;
  modifiers: { register: 'eax' | 'ebx' | 'ecx' | 'edx'; bitmap: string }[];
}

export interface IRegisterModifier {
  addr: string;
  bitmap: string;
}

export interface IVcpuFeature {
  /** Index in KVM's `kvm_vcpu_init.features`. */
  index: number;
  bitmap: string;
}
