import { createHash } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { defaultRuntimeDir } from '../config/directories.js';
import { isSmartVMError, SmartVMError } from '../errors.js';
import { hostArch } from '../util/arch.js';
import { syncDirectory } from '../util/atomic-file.js';
import { throwIfCanceled } from '../util/deadline.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { type FileRecord, fingerprint, sameFingerprint } from '../util/verified-file.js';
import { type PlaceOptions, placeArtifact } from './artifact.js';
import {
  bundleIsWhole,
  evictBundles,
  readBundle,
  type StoredBundle,
  touchBundle,
  writeBundle,
} from './base-image-cache.js';
import {
  locksFolder,
  notesFolder,
  partsFolder,
  sweepBaseImages,
  unfinishedBundle,
  unfinishedBundles,
} from './base-image-leftovers.js';
import {
  type CheckedManifest,
  DEFAULT_BOOT_ARGS,
  MAX_KERNEL_BYTES,
  MAX_ROOTFS_BYTES,
  unverifiedSources,
} from './base-image-manifest.js';
import { type BaseImagePlan, planBaseImage } from './base-image-plan.js';
import type { IBaseImageBundle, IBaseImageManagerOptions, IEnsureBaseImageOptions } from './base-image-types.js';
import type { Arch } from './image-types.js';
import { lockBuild } from './store/build-lock.js';
import type { CollectedThing } from './store/collected.js';
import { noteRuntimeDir } from './store/uses.js';

const DEFAULT_MAX_STORED = 2;

/** Keeps bundles of kernel and root file system: verified when they come in, checked at every use, the least used evicted. */
export class BaseImageManager {
  readonly #cacheDir: string;
  readonly #hasDefaultDir: boolean;
  readonly #maxStored: number;
  readonly #arch: Arch;
  readonly #options: IBaseImageManagerOptions;

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
    this.#options = options;
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

  /** Removes what programs have left that were killed, and transfers that were canceled: what has come of them, and bundles half made. */
  async prune({ dryRun = false }: { dryRun?: boolean | undefined } = {}): Promise<CollectedThing[]> {
    return await sweepBaseImages(this.#cacheDir, dryRun);
  }

  /**
   * The bundle of a preset or a manifest, from the cache or made now. A cached file whose bytes have changed is made again, never
   * served. While one program makes a bundle, others that want it wait.
   * @throws SmartVMError BASE_IMAGE_MANIFEST_FAILED, INVALID_BASE_IMAGE_MANIFEST, BASE_IMAGE_ARTIFACT_FAILED, DIRECTORY_UNSAFE,
   *   FILE_WRITE_FAILED, CANCELED
   */
  async ensureBaseImage(options: IEnsureBaseImageOptions = {}): Promise<IBaseImageBundle> {
    throwIfCanceled(options.signal, 'fetching the base image');
    const plan = await this.#plan(options);
    await this.#ensureCacheDir();
    await noteRuntimeDir(this.#cacheDir, this.#options.runtimeDir ?? defaultRuntimeDir());
    const bundle = await this.#bundleOf(plan, options).catch(async (error: unknown) => {
      if (!plan.isNoted || !isSmartVMError(error, 'BASE_IMAGE_ARTIFACT_FAILED')) {
        throw error;
      }
      return await this.#bundleOf(await this.#plan(options, { presetMaxAgeMs: 0 }), options); // the bucket has others by now
    });
    await this.pruneBaseImageCache(bundle.bundleId);
    const { files: _files, ...publicBundle } = bundle;
    return publicBundle;
  }

  async #plan(options: IEnsureBaseImageOptions, changes: IBaseImageManagerOptions = {}): Promise<BaseImagePlan> {
    const notes = notesFolder(this.#cacheDir);
    return await planBaseImage(options, this.#arch, { ...this.#options, ...changes }, notes);
  }

  async #bundleOf(plan: BaseImagePlan, options: IEnsureBaseImageOptions): Promise<StoredBundle> {
    return (await this.#useCached(plan)) ?? (await this.#make(plan, options));
  }

  async #ensureCacheDir(): Promise<void> {
    if (this.#hasDefaultDir) {
      // The default stands in a folder that everybody writes to: whoever owns its parent could swap it.
      await ensurePrivateDirectory(dirname(this.#cacheDir));
    }
    await ensurePrivateDirectory(this.#cacheDir);
  }

  async #useCached({ preset, manifest }: BaseImagePlan): Promise<StoredBundle | undefined> {
    const bundle = readBundle(this.#cacheDir, manifest.bundleId);
    if (bundle?.files?.manifestSha256 !== hashOf(manifest) || sourcesChanged(manifest, bundle)) {
      return undefined;
    }
    if (!(await bundleIsWhole(this.#cacheDir, bundle))) {
      return undefined;
    }
    return touchBundle(join(this.#cacheDir, bundle.bundleId), { ...bundle, preset });
  }

  async #make(plan: BaseImagePlan, options: IEnsureBaseImageOptions): Promise<StoredBundle> {
    const { bundleId } = plan.manifest;
    const bundleDir = join(this.#cacheDir, bundleId);
    const { signal, onProgress: listener = () => {} } = options;
    const sharing = { what: `base image ${bundleId}`, onProgress: listener, signal };
    await using lock = await lockBuild(locksFolder(this.#cacheDir), bundleId, sharing);
    const cached = await this.#useCached(plan);
    if (cached) {
      return cached; // another program made it while we waited
    }
    await Promise.all((await unfinishedBundles(this.#cacheDir, bundleId)).map(removeTree));
    const temporary = unfinishedBundle(this.#cacheDir, bundleId);
    try {
      await mkdir(temporary, { mode: 0o700 });
      const policy = {
        partsFolder: partsFolder(this.#cacheDir),
        allowHttp: this.#options.allowHttp,
        narrowest: plan.reach,
        signal,
        onProgress: lock.onProgress,
      };
      const bundle = await fill(temporary, bundleDir, plan, policy);
      await removeTree(bundleDir);
      await rename(temporary, bundleDir);
      await syncDirectory(this.#cacheDir);
      return bundle;
    } finally {
      await removeTree(temporary);
    }
  }
}

/** Brings the artifacts into a temporary folder and writes the manifest of the bundle that it will be. */
async function fill(
  temporary: string,
  bundleDir: string,
  plan: BaseImagePlan,
  policy: Omit<PlaceOptions, 'maxBytes'>,
): Promise<StoredBundle> {
  const { preset, ciVersion, source, manifest } = plan;
  const { kernel, rootfs } = manifest;
  const sources = unverifiedSources(manifest);
  const [kernelFile, rootfsFile] = [join(temporary, kernel.fileName), join(temporary, rootfs.fileName)];
  const kernelSha256 = await placeArtifact(kernel, kernelFile, { ...policy, maxBytes: MAX_KERNEL_BYTES });
  const rootfsSha256 = await placeArtifact(rootfs, rootfsFile, { ...policy, maxBytes: MAX_ROOTFS_BYTES });
  const now = new Date().toISOString();
  const bundle: StoredBundle = {
    preset,
    arch: manifest.arch,
    ciVersion,
    firecrackerVersion: manifest.firecrackerVersion,
    bundleId: manifest.bundleId,
    bundleDir,
    kernelImagePath: join(bundleDir, kernel.fileName),
    rootfsPath: join(bundleDir, rootfs.fileName),
    rootfsType: manifest.rootfsType,
    rootfsIsReadOnly: manifest.rootfsIsReadOnly ?? manifest.rootfsType === 'squashfs',
    bootArgs: manifest.bootArgs ?? DEFAULT_BOOT_ARGS,
    source,
    checksums: { kernelSha256, rootfsSha256 },
    createdAt: now,
    lastAccessedAt: now,
    files: {
      kernel: await knownRecord(kernelFile, kernelSha256),
      rootfs: await knownRecord(rootfsFile, rootfsSha256),
      manifestSha256: hashOf(manifest),
      sources,
    },
  };
  await writeBundle(temporary, bundle);
  return bundle;
}

/** Of a file that was hashed while it was written. */
async function knownRecord(path: string, sha256: string): Promise<FileRecord> {
  const print = await fingerprint(path);
  if (!print) {
    throw new SmartVMError('BASE_IMAGE_ARTIFACT_FAILED', `${path} was taken away while the bundle was made`);
  }
  return { size: Number(print.size), sha256, fingerprint: print };
}

function sourcesChanged(manifest: CheckedManifest, bundle: StoredBundle): boolean {
  const now = Object.entries(unverifiedSources(manifest));
  return now.some(([path, print]) => !sameFingerprint(print, bundle.files?.sources[path]));
}

function hashOf(manifest: CheckedManifest): string {
  return createHash('sha256').update(JSON.stringify(manifest)).digest('hex');
}

async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
