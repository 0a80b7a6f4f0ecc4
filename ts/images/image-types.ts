import type { ImageConfig } from '../config/image-config.js';
import type { Arch } from '../util/arch.js';
import type { BlobRef } from './store/blobs.js';

export type { Arch } from '../util/arch.js';

/** One line of progress. `step` names the part of the work, for a program; `message` is for a person. */
export interface ImageProgress {
  readonly step: string;
  readonly message: string;
  /** Of a transfer: how much of it has come, and how much is to come where that is known. */
  readonly receivedBytes?: number;
  readonly totalBytes?: number;
}

export type ProgressListener = (progress: ImageProgress) => void;

export type RootFsType = 'squashfs' | 'ext4' | 'erofs';

/** All that a VM needs to boot an image. The files are shared and read-only: a VM writes to a layer of its own. */
export interface BootImage {
  readonly name: string;
  /** `sha256:…` of its parts and how they are booted: the same digest is the same image. */
  readonly digest: string;
  readonly arch: Arch;
  /** ELF vmlinux (x86_64) or Image (aarch64). */
  readonly kernelImagePath: string;
  /** The agent, and the modules of this kernel that devices and file systems need. */
  readonly initramfsPath: string;
  readonly rootfs: { readonly path: string; readonly fsType: RootFsType };
  /** A squashfs with the kernel's modules, for a root file system that has none of this kernel. */
  readonly moduleDrivePath?: string | undefined;
  readonly bootArgs: string;
  /** What the image says of the programs in it. */
  readonly config?: ImageConfig | undefined;
}

/** What a source made: parts in the store, and how to boot them. */
export interface ImageContent {
  readonly kernelRelease: string;
  readonly bootArgs: string;
  readonly fsType: RootFsType;
  /** What the image says of the programs in it. */
  readonly config?: ImageConfig | undefined;
  /** Where it came from: no part of what a VM sees. */
  readonly source?: object | undefined;
  /**
   * `modules` is the part of the initramfs that depends on the kernel alone; `moduleDrive` has all modules, for a guest whose root
   * file system has none, and `moduleTree` is such a drive for others with this kernel.
   */
  readonly blobs: { readonly kernel: BlobRef; readonly modules: BlobRef; readonly rootfs: BlobRef } & Readonly<
    Record<string, BlobRef>
  >;
  /** What it was made of, for people. Not part of the digest: the same bytes from another mirror are the same image. */
  readonly inputs?: ImageInputs | undefined;
}

export interface ImageInputs {
  /** Debian's suite. */
  readonly suite: string;
  /** URLs of the archives. */
  readonly archives: readonly string[];
  /** All that are installed, with their versions. */
  readonly packages: Readonly<Record<string, string>>;
  /** Of the kernel's package; undefined where the kernel does not say it. */
  readonly kernel?: string | undefined;
  /** Seconds since 1970: no file of the root file system is newer. */
  readonly sourceDateEpoch: number;
}
