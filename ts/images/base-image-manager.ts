import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { hostArch } from '../util/arch.js';
import { syncDirectory } from '../util/atomic-file.js';
import { throwIfCanceled } from '../util/deadline.js';
import { lockFile } from '../util/file-lock.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { fingerprint, recordFile, sameFingerprint } from '../util/verified-file.js';
import { copyArtifact } from './artifact-copy.js';
import { bundleIsWhole, evictBundles, readBundle, type StoredBundle, writeBundle } from './base-image-cache.js';
import { type CheckedManifest, readHostedManifest } from './base-image-manifest.js';
import type { IBaseImageBundle, IBaseImageManagerOptions, IEnsureBaseImageOptions } from './base-image-types.js';
import type { Arch } from './image-types.js';

const DEFAULT_MAX_STORED = 2;
const DEFAULT_BOOT_ARGS = 'console=ttyS0 reboot=k panic=1 pci=off';
const MAX_KERNEL_BYTES = 1024 ** 3;
const MAX_ROOTFS_BYTES = 64 * 1024 ** 3;

/** Keeps bundles of kernel and root file system: verified when they come in, checked at every use, the least used evicted. */
export class BaseImageManager {
  readonly #cacheDir: string;
  readonly #hasDefaultDir: boolean;
  readonly #maxStored: number;
  readonly #arch: Arch;
  readonly #defaults: Pick<IBaseImageManagerOptions, 'hostedManifestPath' | 'hostedManifestUrl'>;

  /** Makes nothing on disk. @throws SmartVMError INVALID_BASE_IMAGE_CACHE_LIMIT */
  constructor(options: IBaseImageManagerOptions = {}) {
    const { maxStoredBaseImages = DEFAULT_MAX_STORED } = options;
    if (!Number.isSafeInteger(maxStoredBaseImages) || maxStoredBaseImages < 1) {
      throw new SmartVMError(
        'INVALID_BASE_IMAGE_CACHE_LIMIT',
        `maxStoredBaseImages must be an integer of at least 1, not ${maxStoredBaseImages}`,
      );
    }
    this.#hasDefaultDir = options.cacheDir === undefined;
    this.#cacheDir = options.cacheDir ?? join(tmpdir(), '.smartvm', 'base-images');
    this.#maxStored = maxStoredBaseImages;
    this.#arch = options.arch ?? hostArch();
    this.#defaults = options;
  }

  getCacheDir(): string {
    return this.#cacheDir;
  }

  getMaxStoredBaseImages(): number {
    return this.#maxStored;
  }

  /**
   * Removes the bundles used longest ago until `maxStoredBaseImages` are left, and says so by console.warn.
   * @param keepBundleId is never removed
   * @returns the ids of those removed
   */
  async pruneBaseImageCache(keepBundleId: string): Promise<string[]> {
    return await evictBundles(this.#cacheDir, this.#maxStored, keepBundleId);
  }

  /**
   * The bundle of a manifest, from the cache or made now. A cached file whose bytes have changed is made again, never served.
   * @throws SmartVMError BASE_IMAGE_MANIFEST_FAILED, INVALID_BASE_IMAGE_MANIFEST, BASE_IMAGE_ARTIFACT_FAILED, DIRECTORY_UNSAFE, CANCELED
   */
  async ensureBaseImage(options: IEnsureBaseImageOptions = {}): Promise<IBaseImageBundle> {
    throwIfCanceled(options.signal, 'fetching the base image');
    const manifestPath = this.#manifestPathOf(options);
    const manifest = await readHostedManifest(manifestPath, this.#arch);
    await this.#ensureCacheDir();
    const bundle = (await this.#useCached(manifest)) ?? (await this.#make(manifest, manifestPath, options.signal));
    await this.pruneBaseImageCache(bundle.bundleId);
    const { files: _files, ...publicBundle } = bundle;
    return publicBundle;
  }

  #manifestPathOf(options: IEnsureBaseImageOptions): string {
    const path = options.manifestPath ?? (options.manifestUrl ? undefined : this.#defaults.hostedManifestPath);
    const url = options.manifestUrl ?? this.#defaults.hostedManifestUrl;
    const preset = options.preset ?? (path || url ? 'hosted' : 'latest');
    if (preset !== 'hosted') {
      throw new SmartVMError(
        'BASE_IMAGE_ARTIFACT_FAILED',
        `preset '${preset}' cannot be downloaded so far; use preset 'hosted' with manifestPath, or image 'debian' of the image manager`,
      );
    }
    if (path === undefined) {
      const why = url ? `a manifest by URL cannot be downloaded so far (${url})` : "preset 'hosted' needs a manifest";
      throw new SmartVMError('BASE_IMAGE_MANIFEST_FAILED', `${why}; give manifestPath`);
    }
    return path;
  }

  async #ensureCacheDir(): Promise<void> {
    if (this.#hasDefaultDir) {
      // The default stands in a folder that everybody writes to: whoever owns its parent could swap it.
      await ensurePrivateDirectory(dirname(this.#cacheDir));
    }
    await ensurePrivateDirectory(this.#cacheDir);
  }

  async #useCached(manifest: CheckedManifest): Promise<StoredBundle | undefined> {
    const bundle = await readBundle(this.#cacheDir, manifest.bundleId);
    if (bundle?.files?.manifestSha256 !== hashOf(manifest) || (await sourcesChanged(manifest, bundle))) {
      return undefined;
    }
    if (!(await bundleIsWhole(this.#cacheDir, bundle))) {
      return undefined;
    }
    const used = { ...bundle, lastAccessedAt: new Date().toISOString() };
    await writeBundle(join(this.#cacheDir, bundle.bundleId), used);
    return used;
  }

  async #make(manifest: CheckedManifest, manifestPath: string, signal?: AbortSignal): Promise<StoredBundle> {
    const bundleDir = join(this.#cacheDir, manifest.bundleId);
    const prefix = `.${manifest.bundleId}.building-`;
    await using _lock = await lockFile(join(this.#cacheDir, `.${manifest.bundleId}.lock`), signal);
    const cached = await this.#useCached(manifest);
    if (cached) {
      return cached; // another program made it while we waited
    }
    const leftovers = (await readdir(this.#cacheDir)).filter((name) => name.startsWith(prefix));
    await Promise.all(leftovers.map((name) => removeTree(join(this.#cacheDir, name))));
    const temporary = join(this.#cacheDir, `${prefix}${randomUUID()}`);
    try {
      await mkdir(temporary, { mode: 0o700 });
      const bundle = await fill(temporary, bundleDir, manifest, manifestPath, signal);
      await removeTree(bundleDir);
      await rename(temporary, bundleDir);
      await syncDirectory(this.#cacheDir);
      return bundle;
    } finally {
      await removeTree(temporary);
    }
  }
}

/** Copies the artifacts into a temporary folder and writes the manifest of the bundle that it will be. */
async function fill(
  temporary: string,
  bundleDir: string,
  manifest: CheckedManifest,
  manifestPath: string,
  signal?: AbortSignal,
): Promise<StoredBundle> {
  const { kernel, rootfs } = manifest;
  const sources = await unverifiedSources(manifest);
  const kernelSha256 = await copyArtifact(kernel, join(temporary, kernel.fileName), {
    maxBytes: MAX_KERNEL_BYTES,
    signal,
  });
  const rootfsSha256 = await copyArtifact(rootfs, join(temporary, rootfs.fileName), {
    maxBytes: MAX_ROOTFS_BYTES,
    signal,
  });
  const now = new Date().toISOString();
  const bundle: StoredBundle = {
    preset: 'hosted',
    arch: manifest.arch,
    ciVersion: 'hosted',
    firecrackerVersion: manifest.firecrackerVersion,
    bundleId: manifest.bundleId,
    bundleDir,
    kernelImagePath: join(bundleDir, kernel.fileName),
    rootfsPath: join(bundleDir, rootfs.fileName),
    rootfsType: manifest.rootfsType,
    rootfsIsReadOnly: manifest.rootfsIsReadOnly ?? manifest.rootfsType === 'squashfs',
    bootArgs: manifest.bootArgs ?? DEFAULT_BOOT_ARGS,
    source: { type: 'hosted-manifest', manifestPath },
    checksums: { kernelSha256, rootfsSha256 },
    createdAt: now,
    lastAccessedAt: now,
    files: {
      kernel: await recordFile(join(temporary, kernel.fileName)),
      rootfs: await recordFile(join(temporary, rootfs.fileName)),
      manifestSha256: hashOf(manifest),
      sources,
    },
  };
  await writeBundle(temporary, bundle);
  return bundle;
}

/** An artifact without a checksum is known by its file: when that is another one, the cached copy is out of date. */
async function unverifiedSources(manifest: CheckedManifest): Promise<NonNullable<StoredBundle['files']>['sources']> {
  const paths = [manifest.kernel, manifest.rootfs].flatMap(({ path, sha256 }) => (path && !sha256 ? [path] : []));
  const entries = await Promise.all(paths.map(async (path) => [path, await fingerprint(path)] as const));
  return Object.fromEntries(entries.flatMap(([path, print]) => (print ? [[path, print] as const] : [])));
}

async function sourcesChanged(manifest: CheckedManifest, bundle: StoredBundle): Promise<boolean> {
  const now = Object.entries(await unverifiedSources(manifest));
  return now.some(([path, print]) => !sameFingerprint(print, bundle.files?.sources[path]));
}

function hashOf(manifest: CheckedManifest): string {
  return createHash('sha256').update(JSON.stringify(manifest)).digest('hex');
}

async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
