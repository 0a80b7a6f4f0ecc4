import { randomBytes } from 'node:crypto';
import { readdirSync, statfsSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { assertLayerOptions, keptLayerName, type LayerKind, type LayerOptions } from '../../config/layers.js';
import { SmartVMError } from '../../errors.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import type { BootImage } from '../image-types.js';
import { canReflink } from './fill.js';
import { type KeptLayer, keptLayerPath, keptSizeMib, readKeptLayer } from './kept.js';

const MIB = 1024 * 1024;
const DEFAULT_OVERLAY_MIB = 1024;
/** statfs(2). */
const IN_MEMORY: readonly number[] = [0x01021994, 0x858458f6];
/** The file of a layer in a VM's own directory. */
export const OWN_LAYER = 'layer.img';

/** What a VM writes to. */
export interface LayerPlan {
  readonly kind: LayerKind;
  readonly path: string;
  readonly sizeMib: number;
  /** Where it is: in the VM's own directory, beside those of other VMs, or with those that are kept. */
  readonly place: 'own' | 'passing' | 'kept';
  /** The layer that is there already. */
  readonly found?: KeptLayer | undefined;
  /** The file is larger than the file system in it, or may be: the guest makes that as large. */
  readonly grows: boolean;
}

export interface LayerPlaces {
  readonly id: string;
  /** The folder of the VM's directory that its VMM may write to. */
  readonly ownFolder: string;
  /** Where the VMs of this runtime directory have such folders. */
  readonly ownFolders: () => string[];
  /** The runtime directory, which is there. */
  readonly runtimeRoot: string;
  readonly layersDir: string;
}

type PlanOptions = LayerOptions & { readonly name?: string | undefined; readonly id?: string | undefined };

export const keptFolder = (layersDir: string) => join(layersDir, 'kept');
export const passingFolder = (layersDir: string) => join(layersDir, 'running');

/**
 * Chooses kind, size and place of a VM's layer. Makes nothing but directories.
 * @throws SmartVMError INVALID_OPTION, LAYER_UNSUPPORTED, LAYER_MISMATCH, LAYER_DAMAGED, DIRECTORY_UNSAFE
 */
export async function planLayer(options: PlanOptions, image: BootImage, places: LayerPlaces): Promise<LayerPlan> {
  assertLayerOptions(options);
  const name = keptLayerName(options);
  if (name === undefined) {
    return await passingLayer(options, image, places);
  }
  const folder = keptFolder(places.layersDir);
  await ensurePrivateDirectory(folder);
  const path = keptLayerPath(folder, name);
  const found = await readKeptLayer(path);
  if (!found) {
    return { ...(await newLayer(options, image, folder)), path, place: 'kept' };
  }
  assertFits(found, options, image);
  const sizeMib = await keptSizeMib(path);
  if (options.diskSizeMib !== undefined && options.diskSizeMib < sizeMib) {
    throw tooSmall(options.diskSizeMib, sizeMib, `layer ${name}`);
  }
  return { kind: found.kind, path, sizeMib: options.diskSizeMib ?? sizeMib, place: 'kept', found, grows: true };
}

/** A layer that goes with its VM: in memory where all of it has room there, else on the disk. */
async function passingLayer(options: PlanOptions, image: BootImage, places: LayerPlaces): Promise<LayerPlan> {
  const folder = passingFolder(places.layersDir);
  await ensurePrivateDirectory(folder);
  const layer = await newLayer(options, image, folder);
  if (layer.kind !== 'reflink' && hasRoom(places, layer.sizeMib)) {
    return { ...layer, path: join(places.ownFolder, OWN_LAYER), place: 'own' };
  }
  const path = join(folder, `${places.id}-${randomBytes(4).toString('hex')}.img`);
  return { ...layer, path, place: 'passing' };
}

async function newLayer({ layer = 'auto', diskSizeMib }: PlanOptions, { rootfs }: BootImage, folder: string) {
  const kind = layer === 'auto' ? await bestKind(rootfs, folder) : layer;
  if (kind === 'overlay') {
    return { kind, sizeMib: diskSizeMib ?? DEFAULT_OVERLAY_MIB, grows: false };
  }
  if (rootfs.fsType !== 'ext4') {
    const why = `layer '${kind}' is a copy of an ext4 root file system, and that of this image is ${rootfs.fsType}`;
    throw new SmartVMError('LAYER_UNSUPPORTED', `${why}; use layer 'overlay'`);
  }
  const imageMib = Math.ceil((await stat(rootfs.path)).size / MIB);
  if (diskSizeMib !== undefined && diskSizeMib < imageMib) {
    throw tooSmall(diskSizeMib, imageMib, 'the root file system of the image');
  }
  return { kind, sizeMib: diskSizeMib ?? imageMib, grows: diskSizeMib !== undefined && diskSizeMib > imageMib };
}

async function bestKind(rootfs: BootImage['rootfs'], folder: string): Promise<LayerKind> {
  return rootfs.fsType === 'ext4' && (await canReflink(rootfs.path, folder)) ? 'reflink' : 'overlay';
}

function assertFits(found: KeptLayer, { layer = 'auto' }: PlanOptions, image: BootImage): void {
  const { name, kind } = found;
  if (layer !== 'auto' && layer !== kind) {
    throw new SmartVMError('LAYER_MISMATCH', `layer ${name} is of kind '${kind}', not '${layer}'`);
  }
  if (kind === 'overlay' && found.image.digest !== image.digest) {
    const made = `layer ${name} lies over image ${found.image.name} (${found.image.digest})`;
    throw new SmartVMError('LAYER_MISMATCH', `${made}, and fits no other: ${image.name} is ${image.digest} now`, {
      details: { name, image: found.image, given: image.digest },
    });
  }
}

function tooSmall(diskSizeMib: number, sizeMib: number, what: string): SmartVMError {
  return new SmartVMError(
    'INVALID_OPTION',
    `diskSizeMib: ${what} has ${sizeMib} MiB and does not shrink to ${diskSizeMib}`,
    {
      details: { diskSizeMib, sizeMib },
    },
  );
}

/**
 * A runtime directory that is not in memory takes every layer. One that is takes as many as could all grow to their sizes in half of it,
 * so that no guest fills the host's memory with what it writes.
 */
function hasRoom({ runtimeRoot, ownFolders }: LayerPlaces, sizeMib: number): boolean {
  const { type, blocks, bsize } = statfsSync(runtimeRoot);
  if (!IN_MEMORY.includes(type)) {
    return true;
  }
  const taken = ownFolders()
    .map((folder) => statSync(join(folder, OWN_LAYER), { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, size) => sum + size, 0);
  return taken + sizeMib * MIB <= (blocks * bsize) / 2;
}

/** Names in a runtime directory; few calls, since each start of a VM comes by here. */
export function foldersBelow(runtimeRoot: string): string[] {
  return readdirSync(runtimeRoot).filter((name) => !name.startsWith('.'));
}
