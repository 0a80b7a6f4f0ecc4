import { dirname, join } from 'node:path';
import { verifiedProgram } from '../config/programs.js';
import { SmartVMError } from '../errors.js';
import { hostArch } from '../util/arch.js';
import { throwIfCanceled } from '../util/deadline.js';
import type { Holder } from '../util/holder.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { removeBuild } from './build-sandbox.js';
import { cloneFile } from './clone-file.js';
import { layerMismatch, unwritable } from './image-errors.js';
import type { Arch, BootImage, ProgressListener } from './image-types.js';
import { cachedInitramfs } from './initramfs-cache.js';
import { type ImageReference, identityOf, parseReference } from './reference.js';
import { sourceOf } from './sources.js';
import { lockBuild } from './store/build-lock.js';
import { abandonedBuilds } from './store/build-session.js';
import type { CollectedThing } from './store/collected.js';
import { ImageStore, type StoredImage } from './store/image-store.js';
import { blobsOf, type ImageManifest, makeManifest, manifestKey } from './store/manifests.js';
import { holdBlobs, noteRuntimeDir } from './store/uses.js';

export type { Arch, BootImage, ImageProgress, ProgressListener, RootFsType } from './image-types.js';
export type { CollectedThing } from './store/collected.js';
export type { StoredImage } from './store/image-store.js';

export interface ImageManagerOptions {
  /** A folder of this user's alone (made 0700). */
  readonly cacheDir: string;
  /** The guests' architecture; the host's by default. */
  readonly arch?: Arch;
  /** The guest agent; by default the one that came with the package. */
  readonly agentPath?: string;
  /** Where releases of Firecracker come from. Default: none. */
  readonly releases?: FirecrackerReleases;
}

/** A Firecracker of this host, with the jailer of its version. */
export interface FirecrackerBinaries {
  readonly version: string;
  readonly firecrackerPath: string;
  readonly jailerPath: string;
}

export interface FirecrackerReleases {
  ensure(version: string, options: ResolveOptions): Promise<FirecrackerBinaries>;
}

export interface ResolveOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
  /** Makes the image again even where it is up to date: `latest` may be another one by now. Default false. */
  readonly refresh?: boolean | undefined;
}

/** An image that is not removed until it is let go of. */
export interface HeldImage extends AsyncDisposable {
  readonly image: BootImage;
  readonly manifest: ImageManifest;
}

interface Place {
  readonly reference: ImageReference;
  readonly key: string;
  readonly recipe: string;
}

/** Gives bootable images by name: made once a host, kept, checked at every use. */
export class ImageManager {
  readonly cacheDir: string;
  readonly arch: Arch;
  readonly #agentPath: string | undefined;
  readonly #releases: FirecrackerReleases | undefined;
  readonly #store: ImageStore;

  constructor(options: ImageManagerOptions) {
    this.cacheDir = options.cacheDir;
    this.arch = options.arch ?? hostArch();
    this.#agentPath = options.agentPath;
    this.#releases = options.releases;
    this.#store = new ImageStore(options.cacheDir);
  }

  /** The images that are kept. @throws SmartVMError DIRECTORY_UNSAFE */
  async list(): Promise<StoredImage[]> {
    return await this.#store.list();
  }

  /** Whether {@link resolve} would find the image made already. @throws SmartVMError IMAGE_UNKNOWN */
  async has(name: string): Promise<boolean> {
    return (await this.#open(await this.#place(name))) !== undefined;
  }

  /**
   * The image of that name, ready to boot. The first use makes it, which takes its time; programs that ask meanwhile wait for that.
   * @throws SmartVMError IMAGE_UNKNOWN, TOOL_MISSING, IMAGE_BUILD_FAILED, IMAGE_PART_INVALID, BASE_IMAGE_MANIFEST_FAILED,
   *   INVALID_BASE_IMAGE_MANIFEST, BASE_IMAGE_ARTIFACT_FAILED, PACKAGE_DAMAGED, CANCELED, DIRECTORY_UNSAFE, FILE_WRITE_FAILED
   */
  async resolve(name: string, options: ResolveOptions = {}): Promise<BootImage> {
    return await this.#bootable(await this.#ensure(await this.#place(name), options), options);
  }

  /**
   * As {@link resolve}, and the image is not removed until it is let go of: when the VM has its record, that keeps it.
   * @param image its name, or the manifest of one that is kept for a layer, whatever has its name by now
   * @param holder the VM, and the program that starts it
   * @throws SmartVMError as {@link resolve}; LAYER_MISMATCH where parts of that manifest are gone
   */
  async hold(image: string | ImageManifest, holder: Holder, options: ResolveOptions = {}): Promise<HeldImage> {
    const place = typeof image === 'string' ? await this.#place(image) : undefined;
    for (;;) {
      const manifest = place ? await this.#ensure(place, options) : (image as ImageManifest);
      const blobs = blobsOf(manifest).map(({ sha256 }) => sha256);
      await noteRuntimeDir(this.cacheDir, dirname(holder.runtimeDir));
      const release = await holdBlobs(this.cacheDir, blobs, holder);
      // Whoever removes an image takes its manifest first, and looks for holds then: one of us two sees the other.
      if (!place || this.#store.manifests.read(place.key)?.digest === manifest.digest) {
        try {
          if (!place) {
            await this.#assertWhole(manifest);
          }
          const image = await this.#bootable(manifest, options);
          return { image, manifest, [Symbol.asyncDispose]: async () => void (await release()) };
        } catch (error) {
          await release();
          throw error;
        }
      }
      await release();
    }
  }

  /**
   * Firecracker and its jailer in a version, fetched where they are missing and checked by the published sha256.
   * @param version three numbers, or `latest`
   * @throws SmartVMError INVALID_OPTION, RELEASE_INVALID, DOWNLOAD_FAILED, DOWNLOAD_CORRUPT, DOWNLOAD_REFUSED, FILE_WRITE_FAILED,
   *   DIRECTORY_UNSAFE, TOOL_MISSING, CANCELED
   */
  async firecracker(version = 'latest', options: ResolveOptions = {}): Promise<FirecrackerBinaries> {
    if (!this.#releases) {
      throw new SmartVMError('INVALID_OPTION', 'this image manager was given no releases of Firecracker');
    }
    return await this.#releases.ensure(version, options);
  }

  /**
   * Copies a root file system for a VM that is to write to it: by reflink where the file system can, else sparse. The copy is 0600.
   * @throws SmartVMError FILE_WRITE_FAILED (also when the target exists), TOOL_FAILED, TOOL_MISSING, CANCELED
   */
  async cloneRootfs(source: string, target: string, { signal }: ResolveOptions = {}): Promise<void> {
    await cloneFile(source, target, signal);
  }

  /** How an image is booted, and its parts; undefined when it is not kept. @throws SmartVMError IMAGE_UNKNOWN */
  inspect(image: string | Pick<StoredImage, 'key'>): ImageManifest | undefined {
    return this.#store.manifests.read(this.#keyOf(image));
  }

  /** Where a part of an image is. */
  pathOf(sha256: string): string {
    return this.#store.blobs.pathOf(sha256);
  }

  /**
   * Hashes all parts of an image that is kept. A part that is not what it should be is set aside, and made again at the next use.
   * @returns the roles of such parts, of absent ones too; undefined when there is no such image
   * @throws SmartVMError IMAGE_UNKNOWN
   */
  async verify(image: string | Pick<StoredImage, 'key'>): Promise<string[] | undefined> {
    const manifest = this.inspect(image);
    if (!manifest) {
      return undefined;
    }
    const bad: string[] = [];
    for (const [role, blob] of Object.entries(manifest.blobs)) {
      if ((await this.#store.blobs.verify(blob)) !== 'whole') {
        bad.push(role);
      }
    }
    return bad;
  }

  /** Removes an image, and the parts that no other has. @returns whether there was one @throws SmartVMError IMAGE_UNKNOWN, IMAGE_IN_USE */
  async remove(image: string | Pick<StoredImage, 'key'>): Promise<boolean> {
    return await this.#store.remove(this.#keyOf(image));
  }

  /** Removes parts that no image and no VM has, and what builds and transfers left whose programs were killed. */
  async prune(options: { dryRun?: boolean | undefined } = {}): Promise<CollectedThing[]> {
    return await this.#store.collect(options);
  }

  /** @param image a name, or an image of {@link list} */
  #keyOf(image: string | Pick<StoredImage, 'key'>): string {
    return typeof image === 'string' ? this.#keyOfReference(parseReference(image)) : image.key;
  }

  #keyOfReference(reference: ImageReference): string {
    return manifestKey(reference.name, identityOf(reference), this.arch);
  }

  async #place(name: string): Promise<Place> {
    const reference = parseReference(name);
    return {
      reference,
      key: this.#keyOfReference(reference),
      recipe: await sourceOf(reference).recipe(reference, this.arch),
    };
  }

  async #open({ key, recipe }: Place): Promise<ImageManifest | undefined> {
    const manifest = this.#store.openTrusted(key) ?? (await this.#store.open(key));
    return manifest?.recipe === recipe ? manifest : undefined;
  }

  async #ensure(place: Place, options: ResolveOptions): Promise<ImageManifest> {
    throwIfCanceled(options.signal, `image ${place.reference.name}`);
    await ensurePrivateDirectory(this.cacheDir);
    const found = options.refresh ? undefined : await this.#open(place);
    if (found) {
      await this.#store.manifests.touch(place.key);
      return found;
    }
    try {
      return await this.#make(place, options);
    } catch (error) {
      throw unwritable(error, this.cacheDir);
    }
  }

  async #make({ reference, key, recipe }: Place, options: ResolveOptions): Promise<ImageManifest> {
    const { name } = reference;
    const { signal, refresh, onProgress: listener = () => {} } = options;
    const since = Date.now();
    const sharing = { what: `image ${name}`, onProgress: listener, signal };
    await using lock = await lockBuild(join(this.cacheDir, 'locks'), key, sharing);
    const { onProgress } = lock;
    const found = await this.#open({ reference, key, recipe });
    if (found && (!refresh || Date.parse(found.createdAt) >= since)) {
      return found; // another program made it while we waited
    }
    // Under the lock nobody else makes this image: such folders are those of the dead.
    await Promise.all((await abandonedBuilds(this.cacheDir)).map(removeBuild));
    await using session = await this.#store.openSession(key);
    onProgress({ step: 'build', message: `making image ${name}` });
    const base = async (other: string) => await this.#keepBase(session, other, { signal, onProgress });
    const { arch, cacheDir } = this;
    const content = await sourceOf(reference).build(reference, { arch, cacheDir, session, onProgress, signal, base });
    const manifest = makeManifest({ name, arch: this.arch, recipe }, content);
    await this.#store.manifests.write(key, manifest);
    onProgress({ step: 'done', message: `image ${name} is ready` });
    return manifest;
  }

  async #keepBase(
    session: Awaited<ReturnType<ImageStore['openSession']>>,
    name: string,
    options: ResolveOptions,
  ): Promise<ImageManifest> {
    const manifest = await this.#ensure(await this.#place(name), options);
    for (const blob of blobsOf(manifest)) {
      if (!(await session.keep(blob))) {
        throw new SmartVMError('IMAGE_BUILD_FAILED', `image ${name} was removed while it was needed; try again`);
      }
    }
    return manifest;
  }

  async #assertWhole(manifest: ImageManifest): Promise<void> {
    const whole = await Promise.all(blobsOf(manifest).map((blob) => this.#store.blobs.has(blob)));
    if (whole.includes(false)) {
      throw layerMismatch(manifest);
    }
  }

  async #bootable(manifest: ImageManifest, { signal }: ResolveOptions): Promise<BootImage> {
    const { kernel, modules, rootfs, moduleDrive } = manifest.blobs;
    const initramfsPath = await cachedInitramfs(
      join(this.cacheDir, 'initramfs'),
      {
        agentPath: this.#agentPath ?? (await verifiedProgram('agent', this.arch)),
        modulesPath: this.pathOf(modules.sha256),
        modulesSha256: modules.sha256,
      },
      signal,
    );
    return {
      name: manifest.name,
      digest: manifest.digest,
      arch: manifest.arch,
      kernelImagePath: this.pathOf(kernel.sha256),
      initramfsPath,
      rootfs: { path: this.pathOf(rootfs.sha256), fsType: manifest.fsType },
      moduleDrivePath: moduleDrive && this.pathOf(moduleDrive.sha256),
      bootArgs: manifest.bootArgs,
      config: manifest.config,
    };
  }
}
