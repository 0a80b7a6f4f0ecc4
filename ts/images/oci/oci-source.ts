import { createHash } from 'node:crypto';
import { mkdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageConfig } from '../../config/image-config.js';
import { isSmartVMError, SmartVMError } from '../../errors.js';
import { writeFileAtomic } from '../../util/atomic-file.js';
import { readBoundedText } from '../../util/bounded-file.js';
import { throwIfCanceled } from '../../util/deadline.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import { requireTools } from '../../util/run.js';
import { parseSafeJson } from '../../util/safe-json.js';
import { fingerprint } from '../../util/verified-file.js';
import { type PackedFsType, packingTools, packRoot } from '../root-file-system.js';
import { type BlobRef, isBlobRef } from '../store/blobs.js';
import type { BuildSession } from '../store/build-session.js';
import { type OciConfig, parseConfig } from './config.js';
import { type CheckedLayer, CorruptBlob, DEFAULT_LIMITS, LayerCheck, type UnpackLimits } from './layers.js';
import { type OciManifest, refused } from './manifest.js';
import { blobPath, type FoundImage, findImage, type PullContext, readBlob } from './pull.js';
import { formatOciReference, type OciReference } from './reference.js';
import { unpackLayers } from './unpack.js';

/** Raised with every change to what the functions here make of an image. */
const OCI_RECIPE = 'oci-1';

const MAX_CONFIG_BYTES = 2 << 20;
const MAX_RECORD_BYTES = 1 << 20;

/** A root file system made of an OCI image, and what the image says of it. */
export interface OciRoot {
  readonly rootfs: BlobRef;
  readonly config: ImageConfig;
  readonly source: {
    readonly digest: string;
    /** The digest of its configuration, by which docker knows an image. */
    readonly imageId: string;
    /** Those of its layers, which stay in the cache as long as the image. */
    readonly layers: readonly string[];
  };
}

/** An image of a registry stays what it is until it is asked for anew; a file or folder tells when it is another. */
export async function ociRecipe(reference: OciReference): Promise<string> {
  if (reference.kind === 'registry') {
    return OCI_RECIPE;
  }
  const { path } = reference;
  const print = (await fingerprint(path)) ?? (await fingerprint(join(path, 'index.json')));
  return `${OCI_RECIPE}-${createHash('sha256')
    .update(JSON.stringify(print ?? 'absent'))
    .digest('hex')
    .slice(0, 16)}`;
}

export interface OciBuild extends Omit<PullContext, 'blobs' | 'maxBlobBytes' | 'workDirectory'> {
  /** The images' folder: layers are kept in `oci` below. */
  readonly cacheDir: string;
  readonly session: BuildSession;
  readonly fsType: PackedFsType;
  readonly limits?: UnpackLimits | undefined;
}

/**
 * Pulls an image, unpacks it, and makes a root file system of it. Of one that was made before and is the same still nothing but
 * its manifest is asked for; layers that the cache has are not fetched again.
 * @throws SmartVMError IMAGE_PULL_FAILED, IMAGE_REFUSED, IMAGE_BUILD_FAILED, TOOL_MISSING, CANCELED
 */
export async function buildOciRoot(reference: OciReference, build: OciBuild): Promise<OciRoot> {
  await requireTools(['skopeo', 'umoci', 'prlimit', 'tar', ...packingTools(build.fsType)]);
  const name = formatOciReference(reference);
  try {
    return await new OciBuilder(name, build).build(reference);
  } catch (error) {
    throwIfCanceled(build.signal, `making an image of ${name}`);
    if (isSmartVMError(error) && error.code !== 'TOOL_FAILED') {
      throw error;
    }
    const { message } = error as Error;
    throw new SmartVMError('IMAGE_BUILD_FAILED', `no root file system could be made of ${name}: ${message}`, {
      cause: error,
    });
  }
}

class OciBuilder {
  readonly #name: string;
  readonly #build: OciBuild;
  readonly #limits: UnpackLimits;
  readonly #directory: string;
  readonly #blobs: string;

  constructor(name: string, build: OciBuild) {
    this.#name = name;
    this.#build = build;
    this.#limits = build.limits ?? DEFAULT_LIMITS;
    this.#directory = join(build.cacheDir, 'oci');
    this.#blobs = join(this.#directory, 'blobs');
  }

  async build(reference: OciReference): Promise<OciRoot> {
    await Promise.all([this.#blobs, join(this.#directory, 'roots')].map(ensurePrivateDirectory));
    const workDirectory = join(this.#build.session.workDirectory, 'pull');
    await mkdir(workDirectory);
    const found = await findImage(reference, {
      ...this.#build,
      blobs: this.#blobs,
      workDirectory,
      maxBlobBytes: this.#limits.maxUnpackedBytes,
    });
    this.#assertSize(found.manifest);
    const made = await this.#readRoot(found);
    if (made) {
      this.#build.onProgress({ step: 'rootfs', message: `${this.#name} is the image that was made before` });
      return { ...made, source: { ...made.source, digest: found.digest } };
    }
    const root = await this.#make(found);
    await writeFileAtomic(this.#recordPath(found), JSON.stringify(root));
    return root;
  }

  async #make(found: FoundImage): Promise<OciRoot> {
    const { session, fsType, onProgress, signal, arch } = this.#build;
    const { manifest, config, layers, newest, unpackedBytes } = await this.#fetch(found);
    const { workDirectory } = session;
    const options = { cwd: workDirectory, signal };
    await assertSpace(workDirectory, unpackedBytes);
    onProgress({ step: 'rootfs', message: `unpacking ${inWords(layers.length)}` });
    const raw = { ...manifest.config, path: blobPath(this.#blobs, manifest.config.digest) };
    const folder = await unpackLayers({ config: raw, layers, workDirectory, options });
    onProgress({ step: 'rootfs', message: `packing them as ${fsType}` });
    const file = session.newFile();
    await packRoot(folder, file, { fsType, sourceDateEpoch: Math.max(newest, config.created), options });
    const rootfs = await session.putFile(file, { signal });
    const { digest } = found;
    const source = { digest, imageId: manifest.config.digest, layers: manifest.layers.map((layer) => layer.digest) };
    onProgress({ step: 'rootfs', message: `made a root file system for ${arch}` });
    return { rootfs, config: config.config, source };
  }

  /** A blob of the cache that is damaged is thrown away, and fetched once more. */
  async #fetch(found: FoundImage) {
    try {
      return await this.#fetchOnce(found);
    } catch (error) {
      if (!(error instanceof CorruptBlob)) {
        throw error;
      }
      this.#build.onProgress({ step: 'pull', message: 'a layer in the cache was damaged; it is fetched again' });
      await rm(error.path, { force: true });
      return await this.#fetchOnce(found).catch((again: unknown) => {
        throw again instanceof CorruptBlob ? refused(this.#name, again.message) : again;
      });
    }
  }

  async #fetchOnce(found: FoundImage): Promise<{
    manifest: OciManifest;
    config: OciConfig;
    layers: CheckedLayer[];
    newest: number;
    unpackedBytes: number;
  }> {
    const { arch, session, signal, onProgress } = this.#build;
    const manifest = await found.fetch();
    const { digest } = manifest.config;
    const raw = await readBlob(blobPath(this.#blobs, digest), MAX_CONFIG_BYTES, digest);
    const config = parseConfig(raw, arch, this.#name);
    if (config.diffIds.length !== manifest.layers.length) {
      throw refused(this.#name, `it has ${manifest.layers.length} layers and names ${config.diffIds.length}`);
    }
    onProgress({ step: 'verify', message: `verifying ${inWords(manifest.layers.length)}` });
    const check = new LayerCheck(this.#name, this.#limits, signal);
    const layers: CheckedLayer[] = [];
    for (const [index, layer] of manifest.layers.entries()) {
      const path = blobPath(this.#blobs, layer.digest);
      layers.push(await check.check(path, layer, config.diffIds[index] ?? '', session.workDirectory));
    }
    return { manifest, config, layers, newest: check.newest, unpackedBytes: check.unpackedBytes };
  }

  #assertSize({ layers }: OciManifest): void {
    const bytes = layers.reduce((sum, { size }) => sum + size, 0);
    if (bytes > this.#limits.maxUnpackedBytes) {
      throw refused(this.#name, `its layers have ${bytes} bytes, over the limit of ${this.#limits.maxUnpackedBytes}`);
    }
  }

  /** The root file system that was made of this image, where the store has it still. */
  async #readRoot(found: FoundImage): Promise<OciRoot | undefined> {
    const text = await readBoundedText(this.#recordPath(found), MAX_RECORD_BYTES, false).catch(() => undefined);
    if (text === undefined) {
      return undefined;
    }
    try {
      const root = parseSafeJson(text) as OciRoot;
      return isBlobRef(root.rootfs) && (await this.#build.session.keep(root.rootfs)) ? root : undefined;
    } catch {
      return undefined; // it is made again, and written anew
    }
  }

  #recordPath({ manifest }: FoundImage): string {
    const { arch, fsType } = this.#build;
    const id = manifest.config.digest.slice('sha256:'.length);
    return join(this.#directory, 'roots', `${id}-${arch}-${fsType}-${OCI_RECIPE}.json`);
  }
}

/** Said before it is tried: umoci breaks off with a stack trace. What is unpacked is there a second time once it is packed. */
async function assertSpace(directory: string, unpackedBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const [needed, free] = [2 * unpackedBytes, bavail * bsize];
  if (free < needed) {
    const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
    throw new Error(`no space left on device: it takes ${mebibytes(needed)}, and ${directory} has ${mebibytes(free)}`);
  }
}

function inWords(layers: number): string {
  return layers === 1 ? 'one layer' : `${layers} layers`;
}
