import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { lockFile } from '../../util/file-lock.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import { type LeftFile, sweepTemporaries } from '../../util/temporary-file.js';
import { removeBuild } from '../build-sandbox.js';
import type { Arch } from '../image-types.js';
import { unusedLayers } from '../oci/layer-cache.js';
import { sweepParts } from '../parts.js';
import { type BlobRef, Blobs } from './blobs.js';
import { abandonedBuilds, BuildSession, hasLiveBuild, pinnedBlobs, storeLock } from './build-session.js';
import { type CollectedThing, leftFiles } from './collected.js';
import { blobsOf, type ImageManifest, Manifests } from './manifests.js';
import { type Uses, usesOfBlobs } from './uses.js';

/** An image as it is kept. */
export interface StoredImage {
  /** Tells it from every other in the store. */
  readonly key: string;
  readonly name: string;
  readonly digest: string;
  readonly arch: Arch;
  readonly kernelRelease: string;
  readonly createdAt: string;
  /** ISO 8601: when it was last asked for. */
  readonly lastUsedAt: string;
  /** Of all its parts, some of which other images may share. */
  readonly sizeBytes: number;
  /** Of those parts that no other image has: what the disk gets back without it. */
  readonly ownBytes: number;
  /** The ids of the VMs that have a part of it. */
  readonly usedBy: readonly string[];
}

const SHA256 = /[0-9a-f]{64}/g;

/** Images on disk: manifests, and the parts that they name, each kept once however many images have it. */
export class ImageStore {
  readonly root: string;
  readonly blobs: Blobs;
  readonly manifests: Manifests;

  /** @param root a directory of this user's alone */
  constructor(root: string) {
    this.root = root;
    this.blobs = new Blobs(root);
    this.manifests = new Manifests(root);
  }

  /** The image of that key, if its parts are there untouched. Costs a few stat(2), whatever their size. */
  openTrusted(key: string): ImageManifest | undefined {
    const manifest = this.manifests.read(key);
    return manifest && blobsOf(manifest).every((blob) => this.blobs.isTrusted(blob)) ? manifest : undefined;
  }

  /** The image of that key, if its parts are there with their bytes; those that were touched are hashed, and set aside where they differ. */
  async open(key: string): Promise<ImageManifest | undefined> {
    const manifest = this.manifests.read(key);
    if (!manifest) {
      return undefined;
    }
    const whole = await Promise.all(blobsOf(manifest).map((blob) => this.blobs.has(blob)));
    return whole.every(Boolean) ? manifest : undefined;
  }

  async openSession(key: string): Promise<BuildSession> {
    return await BuildSession.open(this.root, key, this.blobs);
  }

  async list(): Promise<StoredImage[]> {
    const [images, uses] = [await this.manifests.list(), await usesOfBlobs(this.root)];
    const shares = sharesOf(images.map(({ manifest }) => manifest));
    return images.map(({ key, manifest, usedAt }) => ({
      key,
      name: manifest.name,
      digest: manifest.digest,
      arch: manifest.arch,
      kernelRelease: manifest.kernelRelease,
      createdAt: manifest.createdAt,
      lastUsedAt: usedAt.toISOString(),
      sizeBytes: sizeOf(unique(blobsOf(manifest))),
      ownBytes: sizeOf(unique(blobsOf(manifest)).filter(({ sha256 }) => shares.get(sha256) === 1)),
      usedBy: usersOf(manifest, uses),
    }));
  }

  /**
   * Removes an image, and the parts that no other has.
   * @returns false when there is no such image
   * @throws SmartVMError IMAGE_IN_USE
   */
  async remove(key: string): Promise<boolean> {
    await ensurePrivateDirectory(this.root);
    await using _lock = await lockFile(storeLock(this.root));
    const manifest = this.manifests.read(key);
    if (!manifest) {
      return false;
    }
    const users = usersOf(manifest, await usesOfBlobs(this.root));
    if (users.length > 0) {
      throw new SmartVMError(
        'IMAGE_IN_USE',
        `image ${manifest.name} stays: ${users.join(', ')} ${users.length > 1 ? 'have' : 'has'} it; stop them first`,
        { details: { name: manifest.name, vms: users } },
      );
    }
    await this.manifests.remove(key);
    await this.#collectLocked(false);
    return true;
  }

  /** Removes what no image and no VM has: parts, what was set aside, and what builds and transfers left whose programs are dead. */
  async collect({ dryRun = false }: { dryRun?: boolean | undefined } = {}): Promise<CollectedThing[]> {
    const present = await readdir(this.root).catch(() => []);
    if (present.length === 0) {
      return [];
    }
    await ensurePrivateDirectory(this.root);
    const transfers = await sweepParts(join(this.root, 'parts'), dryRun);
    await using _lock = await lockFile(storeLock(this.root));
    const files = await this.#sweepTemporaries(dryRun); // first: those of manifests name parts
    return [
      ...(await this.#collectLocked(dryRun)),
      ...leftFiles('image-transfer', transfers),
      ...leftFiles('temporary-file', files),
    ];
  }

  async #sweepTemporaries(dryRun: boolean): Promise<LeftFile[]> {
    const folders = [this.manifests.directory, this.blobs.checked, join(this.root, 'oci/roots')];
    return (await Promise.all(folders.map((folder) => sweepTemporaries(folder, dryRun)))).flat();
  }

  async #collectLocked(dryRun: boolean): Promise<CollectedThing[]> {
    const builds = await abandonedBuilds(this.root);
    const damaged = await this.blobs.listCorrupt();
    const blobs = await this.#unused(builds);
    // A build under way may be about to use any of them.
    const pulling = await hasLiveBuild(this.root, builds);
    const layers = pulling ? [] : await unusedLayers(this.root, new Set(await this.#namedByManifests()));
    if (!dryRun) {
      await Promise.all(builds.map(removeBuild));
      await Promise.all(damaged.map((path) => rm(path, { recursive: true, force: true })));
      await Promise.all(blobs.map(({ sha256 }) => this.blobs.remove(sha256)));
      await Promise.all(layers.map(({ path }) => rm(path, { force: true })));
    }
    return [
      ...blobs.map(
        ({ sha256, size }) => ({ kind: 'image-part', name: this.blobs.pathOf(sha256), sizeBytes: size }) as const,
      ),
      ...layers.map(({ path, sizeBytes }) => ({ kind: 'image-layer', name: path, sizeBytes }) as const),
      ...builds.map((name) => ({ kind: 'image-build', name, sizeBytes: 0 }) as const),
      ...damaged.map((name) => ({ kind: 'image-damaged', name, sizeBytes: 0 }) as const),
    ];
  }

  /** Manifests are read first: who starts a VM holds its parts, and then looks whether the manifest is still there. */
  async #unused(abandoned: readonly string[]): Promise<BlobRef[]> {
    const named = await this.#namedByManifests();
    const pinned = await pinnedBlobs(this.root, abandoned);
    const uses = await usesOfBlobs(this.root);
    const kept = new Set([...named, ...pinned, ...uses.keys()]);
    return (await this.blobs.list()).filter(({ sha256 }) => !kept.has(sha256));
  }

  /** By their text: a manifest of a later version counts too. */
  async #namedByManifests(): Promise<string[]> {
    const folder = this.manifests.directory;
    const names = await readdir(folder).catch(() => []);
    const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8').catch(() => '')));
    return texts.flatMap((text) => text.match(SHA256) ?? []);
  }
}

/**
 * Who has its root file system; and who has nothing but parts of it, such as a VM that writes to a copy of that. Images share kernels:
 * whoever has one part and others that are not of this image has another image.
 */
function usersOf(manifest: ImageManifest, uses: Uses): string[] {
  const parts = new Set(blobsOf(manifest).map(({ sha256 }) => sha256));
  const ofOthers = new Set([...uses].flatMap(([sha256, ids]) => (parts.has(sha256) ? [] : ids)));
  const users = [...parts].flatMap((sha256) => {
    const ids = uses.get(sha256) ?? [];
    return sha256 === manifest.blobs.rootfs.sha256 ? ids : ids.filter((id) => !ofOthers.has(id));
  });
  return [...new Set(users)].toSorted();
}

/** How many images have each part. */
function sharesOf(manifests: readonly ImageManifest[]): Map<string, number> {
  const shares = new Map<string, number>();
  for (const { sha256 } of manifests.flatMap((manifest) => unique(blobsOf(manifest)))) {
    shares.set(sha256, (shares.get(sha256) ?? 0) + 1);
  }
  return shares;
}

function sizeOf(blobs: readonly BlobRef[]): number {
  return blobs.reduce((sum, { size }) => sum + size, 0);
}

function unique(blobs: readonly BlobRef[]): BlobRef[] {
  return [...new Map(blobs.map((blob) => [blob.sha256, blob])).values()];
}
