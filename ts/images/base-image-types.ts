import type { Arch, ProgressListener } from './image-types.js';

/** Where a base image comes from: Firecracker's public CI bucket (`latest`, `lts`), or a manifest of one's own. */
export type TBaseImagePreset = 'latest' | 'lts' | 'hosted';

export type TBaseImageRootfsType = 'ext4' | 'squashfs';

export interface IBaseImageManagerOptions {
  /** Default `<tmp>/.smartvm/base-images`. */
  cacheDir?: string;
  /** How many bundles to keep, those used last; an integer of at least 1. Default 2. */
  maxStoredBaseImages?: number;
  /** Default: the host's. */
  arch?: Arch;
  /** The manifest for `hosted` where a call names none. */
  hostedManifestPath?: string;
  hostedManifestUrl?: string;
  /** In place of Firecracker's public CI bucket, for `latest` and `lts`; the default is SMARTVM_BASE_IMAGE_BUCKET. */
  bucketUrl?: string;
  /** One build of the bucket alone: `v1.12`, `20260923-6f82ac4cf331-0`. Default: the newest. */
  ciVersion?: string;
  /** Of presets. Default: squashfs where there is one, else ext4. */
  rootfsType?: TBaseImageRootfsType;
  /** How long a preset stays what it was found to be, in milliseconds. Default a day. */
  presetMaxAgeMs?: number;
  /** Plain HTTP to other hosts than this one: who is on the way can change what has no sha256. Default false. */
  allowHttp?: boolean;
  /** Where VMs have their records: what one of them names is not evicted. Default: that of SmartVM. */
  runtimeDir?: string;
}

export interface IEnsureBaseImageOptions {
  /** Default: `hosted` where a manifest is named, else `latest`. */
  preset?: TBaseImagePreset;
  manifestPath?: string;
  manifestUrl?: string;
  signal?: AbortSignal;
  /** Told of waits and transfers. */
  onProgress?: ProgressListener;
}

/** A kernel or root file system of a manifest: either `path` or `url`. */
export interface IBaseImageHostedArtifact {
  /** On this host; a relative path starts at the manifest's folder and stays in it. */
  path?: string;
  /** Needs `sha256`. */
  url?: string;
  /** Its name in the cache. Default `vmlinux`, `rootfs.ext4` or `rootfs.squashfs`. */
  fileName?: string;
  /** 64 hexadecimal digits. */
  sha256?: string;
  sizeBytes?: number;
}

export interface IBaseImageHostedManifest {
  schemaVersion: 1;
  /** Letters, digits, `.`, `_` and `-`, a letter or digit first, at most 128. */
  bundleId: string;
  name?: string;
  arch: Arch;
  firecrackerVersion: string;
  rootfsType: TBaseImageRootfsType;
  /** Default: true for squashfs. */
  rootfsIsReadOnly?: boolean;
  /** Default `console=ttyS0 reboot=k panic=1 pci=off`. */
  bootArgs?: string;
  kernel: IBaseImageHostedArtifact;
  rootfs: IBaseImageHostedArtifact;
}

export interface IBaseImageSource {
  type?: 'ci-bucket' | 'hosted-manifest';
  bucketUrl?: string;
  kernelKey?: string;
  rootfsKey?: string;
  manifestPath?: string;
  manifestUrl?: string;
}

/** A cached base image, as it stands in `cacheDir/<bundleId>/manifest.json`. */
export interface IBaseImageBundle {
  preset: TBaseImagePreset;
  arch: Arch;
  /** Firecracker's CI train; `hosted` for a manifest of one's own. */
  ciVersion: string;
  firecrackerVersion: string;
  bundleId: string;
  bundleDir: string;
  kernelImagePath: string;
  rootfsPath: string;
  rootfsType: TBaseImageRootfsType;
  rootfsIsReadOnly: boolean;
  bootArgs: string;
  source: IBaseImageSource;
  checksums?: { kernelSha256: string; rootfsSha256: string };
  /** ISO 8601. */
  createdAt: string;
  lastAccessedAt: string;
}
