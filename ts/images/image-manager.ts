import { randomUUID } from 'node:crypto';
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { verifiedProgram } from '../config/programs.js';
import { SmartVMError } from '../errors.js';
import { hostArch } from '../util/arch.js';
import { syncDirectory } from '../util/atomic-file.js';
import { throwIfCanceled } from '../util/deadline.js';
import { lockFile } from '../util/file-lock.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { removeBuild } from './build-sandbox.js';
import { buildDebianImage, DEBIAN_RECIPE } from './debian-image.js';
import { type ImageBundle, openBundle, sealBundle } from './image-bundle.js';
import type { Arch, BootImage, ProgressListener } from './image-types.js';
import { cachedInitramfs } from './initramfs-cache.js';

export type { Arch, BootImage, ImageProgress, ProgressListener, RootFsType } from './image-types.js';

/** A wait shorter than this is not worth a line. */
const LOCK_NOTICE_MS = 300;

/** Where images can come from. */
const BUILDERS = { debian: { recipe: DEBIAN_RECIPE, build: buildDebianImage } } as const;

type ImageName = keyof typeof BUILDERS;

export interface ImageManagerOptions {
  /** A folder of this user's alone (made 0700). */
  readonly cacheDir: string;
  /** The guests' architecture; the host's by default. */
  readonly arch?: Arch;
  /** The guest agent; by default the one that came with the package. */
  readonly agentPath?: string;
}

export interface ResolveOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/** Gives bootable images by name: built once a host, cached, checked at every use. */
export class ImageManager {
  readonly cacheDir: string;
  readonly arch: Arch;
  readonly #agentPath: string | undefined;

  constructor(options: ImageManagerOptions) {
    this.cacheDir = options.cacheDir;
    this.arch = options.arch ?? hostArch();
    this.#agentPath = options.agentPath;
  }

  /** The names that {@link resolve} takes. */
  list(): string[] {
    return Object.keys(BUILDERS);
  }

  /** Whether {@link resolve} would find the image made already. @throws SmartVMError IMAGE_UNKNOWN, DIRECTORY_UNSAFE */
  async has(name: string): Promise<boolean> {
    const { directory, recipe } = this.#place(name);
    return (await openBundle(directory, recipe)).state === 'whole';
  }

  /**
   * The image of that name, ready to boot. The first use builds it, which takes about a minute; programs that ask meanwhile wait for that build.
   * @throws SmartVMError IMAGE_UNKNOWN, TOOL_MISSING, IMAGE_BUILD_FAILED, PACKAGE_DAMAGED, CANCELED, DIRECTORY_UNSAFE
   */
  async resolve(name: string, options: ResolveOptions = {}): Promise<BootImage> {
    throwIfCanceled(options.signal, `image ${name}`);
    const place = this.#place(name);
    const { directory } = place;
    await ensurePrivateDirectory(this.cacheDir);
    const cached = await openBundle(directory, place.recipe);
    const bundle = cached.state === 'whole' ? cached.bundle : await this.#build(place.name, directory, options);
    const modules = bundle.files.modules;
    const initramfsPath = await cachedInitramfs(
      join(this.cacheDir, 'initramfs'),
      {
        agentPath: this.#agentPath ?? (await verifiedProgram('agent', this.arch)),
        modulesPath: join(directory, modules),
        modulesSha256: bundle.records[modules]?.sha256 ?? '',
      },
      options.signal,
    );
    return {
      name,
      digest: bundle.digest,
      arch: bundle.arch,
      kernelImagePath: join(directory, bundle.files.kernel),
      initramfsPath,
      rootfs: { path: join(directory, bundle.files.rootfs), fsType: bundle.fsType },
      bootArgs: bundle.bootArgs,
    };
  }

  #place(name: string): { name: ImageName; directory: string; recipe: string } {
    if (!isImageName(name)) {
      const known = this.list().join(', ');
      throw new SmartVMError('IMAGE_UNKNOWN', `there is no image '${name}'; there are: ${known}`, {
        details: { name },
      });
    }
    return { name, directory: join(this.cacheDir, `${name}-${this.arch}`), recipe: BUILDERS[name].recipe };
  }

  async #build(
    name: ImageName,
    directory: string,
    { signal, onProgress = () => {} }: ResolveOptions,
  ): Promise<ImageBundle> {
    const notice = setTimeout(
      () => onProgress({ step: 'wait', message: `waiting for another program that builds image ${name}` }),
      LOCK_NOTICE_MS,
    );
    await using _lock = await lockFile(`${directory}.lock`, signal).finally(() => clearTimeout(notice));
    await this.#removeLeftovers(directory);
    const { recipe, build } = BUILDERS[name];
    const found = await openBundle(directory, recipe);
    if (found.state === 'whole') {
      return found.bundle;
    }
    const temporary = `${directory}.building-${randomUUID()}`;
    const [workDirectory, bundleDirectory] = [join(temporary, 'work'), join(temporary, 'bundle')];
    try {
      await mkdir(workDirectory, { recursive: true, mode: 0o700 });
      await mkdir(bundleDirectory, { mode: 0o700 });
      onProgress({ step: 'build', message: `building image ${name} (once; about a minute)` });
      const content = await build({ arch: this.arch, workDirectory, bundleDirectory, onProgress, signal });
      await sealBundle(bundleDirectory, { name, arch: this.arch, recipe }, content);
      await setAside(directory, found.state, onProgress);
      await rename(bundleDirectory, directory);
      await syncDirectory(this.cacheDir);
    } catch (cause) {
      throw cause instanceof SmartVMError ? cause : unwritable(directory, cause as Error);
    } finally {
      await removeBuild(temporary);
    }
    const built = await openBundle(directory, recipe);
    if (built.state !== 'whole') {
      throw new SmartVMError('IMAGE_BUILD_FAILED', `image ${name} was changed while it was built: ${directory}`);
    }
    onProgress({ step: 'done', message: `image ${name} is ready` });
    return built.bundle;
  }

  /** Under the lock nobody is building: folders of builds are those of the dead. */
  async #removeLeftovers(directory: string): Promise<void> {
    const prefix = `${directory}.building-`;
    const names = await readdir(this.cacheDir);
    await Promise.all(
      names
        .map((name) => join(this.cacheDir, name))
        .filter((path) => path.startsWith(prefix))
        .map((path) => removeBuild(path)),
    );
  }
}

/** A disk that is full, or can only be read, and the like. */
function unwritable(directory: string, cause: Error): SmartVMError {
  return new SmartVMError('FILE_WRITE_FAILED', `cannot put an image into ${directory}: ${cause.message}`, { cause });
}

/** Makes room for a new bundle. A corrupt one is kept, the last of them, for whoever wants to know what happened. */
async function setAside(directory: string, state: 'absent' | 'corrupt', onProgress: ProgressListener): Promise<void> {
  if (!(await lstat(directory).catch(() => undefined))) {
    return;
  }
  const aside = `${directory}.${state === 'corrupt' ? 'corrupt' : 'outdated'}`;
  await rm(aside, { recursive: true, force: true });
  await rename(directory, aside);
  if (state === 'corrupt') {
    onProgress({ step: 'build', message: `the cached image was damaged; it is kept in ${aside}` });
  } else {
    await rm(aside, { recursive: true, force: true });
  }
}

function isImageName(name: string): name is ImageName {
  return Object.hasOwn(BUILDERS, name);
}
