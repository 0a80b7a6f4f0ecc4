import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { assertVmId, isValidVmId } from '../../config/ids.js';
import type { LayerKind } from '../../config/layers.js';
import { SmartVMError } from '../../errors.js';
import { writeFileAtomic } from '../../util/atomic-file.js';
import { descriptionOf, leaseOf } from '../../util/held-file.js';
import { type Holder, readHolder } from '../../util/holder.js';
import { acquireLease, type Lease } from '../../util/leases.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import { parseSafeJson } from '../../util/safe-json.js';
import { type ImageManifest, isManifest } from '../store/manifests.js';
import { readExt4State } from './superblock.js';

const MIB = 1024 * 1024;
const KINDS: readonly unknown[] = ['overlay', 'reflink', 'copy'];

/** A layer that outlives its VMs. */
export interface KeptLayer {
  readonly name: string;
  readonly kind: LayerKind;
  /** The image that it was made for, which is not removed while there is the layer. An overlay fits no other. */
  readonly image: ImageManifest;
  /** ISO 8601. */
  readonly createdAt: string;
}

export interface ListedLayer extends KeptLayer {
  readonly path: string;
  /** What the guest sees, in MiB. */
  readonly sizeMib: number;
  /** What it takes of the host's disk, in bytes. */
  readonly diskBytes: number;
  /** Id of the VM that has it. */
  readonly usedBy?: string | undefined;
}

/** False only for a VM that is proven to have ended. */
export type IsHeld = (holder: Holder) => Promise<boolean>;

export function keptLayerPath(directory: string, name: string): string {
  assertVmId(name);
  return join(directory, `${name}.img`);
}

/** The layer of that path; undefined where none is kept. @throws SmartVMError LAYER_DAMAGED */
export async function readKeptLayer(path: string): Promise<KeptLayer | undefined> {
  const text = await readFile(descriptionOf(path), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') {
      return undefined;
    }
    throw damaged(path, error.message, error);
  });
  if (text === undefined) {
    return undefined;
  }
  const { name, kind, image, createdAt } = parse(text, path);
  const isWhole = name === basename(path, '.img') && KINDS.includes(kind) && typeof createdAt === 'string';
  if (!isWhole || !isManifest(image)) {
    throw damaged(path, 'its description is not one that SmartVM wrote');
  }
  return { name, kind, image, createdAt } as KeptLayer;
}

/** Makes a layer one that is kept: from here on nothing but {@link removeKeptLayer} removes it. */
export async function describeKeptLayer(path: string, layer: KeptLayer): Promise<void> {
  await writeFileAtomic(descriptionOf(path), `${JSON.stringify(layer, undefined, 2)}\n`);
}

/** Size of a kept layer's file in MiB. @throws SmartVMError LAYER_DAMAGED where it is not there */
export async function keptSizeMib(path: string): Promise<number> {
  const { size } = await stat(path).catch((cause: Error) => {
    throw damaged(path, cause.message, cause);
  });
  return Math.ceil(size / MIB);
}

/** How many bytes the file system in it has. @throws SmartVMError LAYER_DAMAGED */
export async function assertSound(path: string): Promise<number> {
  const { bytes, damage } = await readExt4State(path).catch((cause: Error) => {
    throw damaged(path, cause.message, cause);
  });
  if (damage !== undefined) {
    throw damaged(path, damage);
  }
  return bytes;
}

/**
 * Takes a layer for one VM. @throws SmartVMError LAYER_IN_USE
 */
export async function leaseLayer(path: string, holder: Holder, isHeld: IsHeld, signal?: AbortSignal): Promise<Lease> {
  const [directory, name] = [join(path, '..'), basename(leaseOf(path))];
  await ensurePrivateDirectory(directory);
  const lease = await acquireLease({ directory, candidates: [name], holder, isHeld, signal });
  if (!lease) {
    const current = await readHolder(leaseOf(path));
    const who = current === undefined || current === 'unknown' ? 'somebody' : `VM ${current.id || current.owner.pid}`;
    throw new SmartVMError('LAYER_IN_USE', `layer ${basename(path, '.img')} is in use: ${who} has it`, {
      details: { path, usedBy: current === 'unknown' ? undefined : current?.id },
    });
  }
  return lease;
}

/** All that are kept, by name; those whose description cannot be read are in `damaged`. */
export async function listKeptLayers(
  directory: string,
  isHeld: IsHeld,
): Promise<{ readonly layers: ListedLayer[]; readonly damaged: SmartVMError[] }> {
  const names = (await readdir(directory).catch(() => [])).filter((name) => name.endsWith('.json')).toSorted();
  const ids = names.map((name) => basename(name, '.json')).filter(isValidVmId);
  const found = await Promise.allSettled(ids.map((name) => describe(keptLayerPath(directory, name), isHeld)));
  return {
    layers: found.flatMap((one) => (one.status === 'fulfilled' && one.value ? [one.value] : [])),
    damaged: found.flatMap((one) => (one.status === 'rejected' ? [one.reason as SmartVMError] : [])),
  };
}

/** Removes a layer that no VM has. @throws SmartVMError LAYER_NOT_FOUND, LAYER_IN_USE, INVALID_ID */
export async function removeKeptLayer(path: string, holder: Holder, isHeld: IsHeld): Promise<void> {
  const isThere = await stat(descriptionOf(path)).catch(() => undefined);
  if (!isThere) {
    throw new SmartVMError('LAYER_NOT_FOUND', `no layer ${basename(path, '.img')} is kept`, { details: { path } });
  }
  const lease = await leaseLayer(path, holder, isHeld);
  try {
    await rm(descriptionOf(path), { force: true }); // first: without it, the rest is nobody's
    await rm(path, { force: true });
  } finally {
    await lease.release();
  }
}

async function describe(path: string, isHeld: IsHeld): Promise<ListedLayer | undefined> {
  const layer = await readKeptLayer(path);
  if (!layer) {
    return undefined;
  }
  const sizeMib = await keptSizeMib(path);
  const holder = await readHolder(leaseOf(path));
  const isUsed = holder !== undefined && (holder === 'unknown' || (await isHeld(holder)));
  const usedBy = isUsed ? (holder === 'unknown' ? '?' : holder.id) : undefined;
  return { ...layer, path, sizeMib, diskBytes: (await stat(path)).blocks * 512, usedBy };
}

function parse(text: string, path: string): Partial<KeptLayer> {
  try {
    return (parseSafeJson(text) ?? {}) as Partial<KeptLayer>;
  } catch (cause) {
    throw damaged(path, 'its description is no JSON', cause);
  }
}

export function damaged(path: string, why: string, cause?: unknown): SmartVMError {
  const hint = `look at it with e2fsck where you trust its guest, or remove it: smartvm layer rm ${basename(path, '.img')}`;
  return new SmartVMError('LAYER_DAMAGED', `layer ${path} cannot be used: ${why}; ${hint}`, {
    cause,
    details: { path },
  });
}
