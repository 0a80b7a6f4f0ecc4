import { rm, truncate, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { keptLayerName } from './config/layers.js';
import { isSmartVMError, SmartVMError } from './errors.js';
import { Execution } from './guest/execution.js';
import type { Guest } from './guest/types.js';
import type { BootImage } from './images/image-types.js';
import { fillLayer } from './images/layers/fill.js';
import {
  assertSound,
  damaged,
  describeKeptLayer,
  keptLayerPath,
  type ListedLayer,
  leaseLayer,
  listKeptLayers,
  readKeptLayer,
  removeKeptLayer,
} from './images/layers/kept.js';
import { foldersBelow, keptFolder, type LayerPlan, passingFolder, planLayer } from './images/layers/plan.js';
import { sweepPassing } from './images/layers/sweep.js';
import { createEmpty } from './images/overlay.js';
import { parseReference } from './images/reference.js';
import type { ImageManifest } from './images/store/manifests.js';
import { noteRuntimeDir } from './images/store/uses.js';
import { imageReference, type LaunchOptions } from './launch.js';
import { isKept, leaseOf } from './util/held-file.js';
import { type Holder, isSameHolder, readHolder, writeHolder } from './util/holder.js';
import { ensurePrivateDirectory } from './util/private-directory.js';
import { currentProcess } from './util/process-identity.js';
import { sweepTemporaries } from './util/temporary-file.js';
import type { Claim, Undo } from './vm/boot-context.js';
import { isHolderAlive } from './vmm/holder.js';
import type { PrunedThing } from './vmm/registry/prune.js';
import { reclaim } from './vmm/registry/reclaim.js';
import type { VmRecord } from './vmm/registry/record.js';
import { readRecord } from './vmm/registry/record-file.js';
import { vmmFolder } from './vmm/vm-folder.js';

const MIB = 1024 * 1024;
/** What the agent prints before it resets a machine whose root file system it cannot mount. */
const ROOT_FAILED = /smartvm-agent: root file system: (.*)/;

/** Where VMs write: a layer for each, which goes with its VM or is kept under a name. */
export class Layers {
  readonly #runtimeRoot: string;
  readonly #directory: string;
  readonly #cacheDir: string;

  /** @param cacheDir where templates of drives are */
  constructor(runtimeRoot: string, directory: string, cacheDir: string) {
    this.#runtimeRoot = runtimeRoot;
    this.#directory = directory;
    this.#cacheDir = cacheDir;
  }

  /** Those that are kept; `damaged` has LAYER_DAMAGED for each of which nothing can be said. */
  async list(): Promise<{ readonly layers: ListedLayer[]; readonly damaged: SmartVMError[] }> {
    return await listKeptLayers(keptFolder(this.#directory), isHeld);
  }

  /** Removes a layer that is kept, with all that was written to it. @throws SmartVMError LAYER_NOT_FOUND, LAYER_IN_USE, INVALID_ID */
  async remove(name: string): Promise<void> {
    const path = keptLayerPath(keptFolder(this.#directory), name);
    await reclaimLeft(path);
    const holder = { id: '', runtimeDir: this.#directory, owner: currentProcess() };
    await removeKeptLayer(path, holder, isHeld);
  }

  /**
   * The image that a layer which is there was made for: its VM boots that, whatever has its name by now. A copy has a root file system
   * of its own and may be given another image, of which it takes the kernel.
   * @throws SmartVMError INVALID_OPTION, LAYER_MISMATCH, LAYER_DAMAGED
   */
  async imageOf(options: LaunchOptions): Promise<ImageManifest | undefined> {
    const name = keptLayerName(options);
    const found =
      name === undefined ? undefined : await readKeptLayer(keptLayerPath(keptFolder(this.#directory), name));
    const asked = imageReference(options.image);
    if (!found || asked === undefined || parseReference(asked).name === found.image.name) {
      return found?.image;
    }
    if (found.kind === 'overlay') {
      const why = `layer ${name} lies over image ${found.image.name}, and fits no other`;
      throw new SmartVMError('LAYER_MISMATCH', `${why}: not ${asked}`);
    }
    return undefined;
  }

  /** @throws SmartVMError INVALID_OPTION, LAYER_UNSUPPORTED, LAYER_MISMATCH, LAYER_DAMAGED, DIRECTORY_UNSAFE */
  async plan(id: string, options: LaunchOptions, image: BootImage): Promise<LayerPlan> {
    await ensurePrivateDirectory(this.#runtimeRoot);
    const folderOf = (name: string) => vmmFolder(join(this.#runtimeRoot, name));
    return await planLayer(options, image, {
      id,
      ownFolder: folderOf(id),
      ownFolders: () => foldersBelow(this.#runtimeRoot).map(folderOf),
      runtimeRoot: this.#runtimeRoot,
      layersDir: this.#directory,
    });
  }

  /** What a VM has to take before its jail is made: nothing, where the layer is in its own directory. */
  claim(plan: LayerPlan, image: ImageManifest): Claim | undefined {
    if (plan.place === 'own') {
      return undefined;
    }
    const kept = plan.place === 'kept';
    return {
      paths: [plan.path],
      keeps: kept,
      take: (holder, signal) => (kept ? takeKept(plan, holder, signal) : takePassing(plan, holder)),
      keep: async (guest, failed) =>
        kept ? await this.#keep(plan, image, assertMounted(plan, guest, failed)) : undefined,
    };
  }

  /** Gives a new layer what it begins with. @throws SmartVMError FILE_WRITE_FAILED, LAYER_UNSUPPORTED, TOOL_MISSING, TOOL_FAILED */
  async fill(plan: LayerPlan, image: BootImage): Promise<void> {
    if (plan.found) {
      return;
    }
    if (plan.place === 'own') {
      await createEmpty(plan.path);
    }
    const { kind, sizeMib, path } = plan;
    const format = plan.place === 'kept' ? 'kept' : 'passing';
    await fillLayer(path, { kind, sizeMib, format, rootfs: image.rootfs.path, cacheDir: this.#cacheDir });
  }

  /** From here on the layer stays when its VM ends, and its image while there is the layer. */
  async #keep(plan: LayerPlan, image: ImageManifest, mounted: Promise<void>): Promise<void> {
    const { path, kind, found } = plan;
    await mounted;
    if (!found) {
      await noteRuntimeDir(this.#cacheDir, keptFolder(this.#directory));
      await describeKeptLayer(path, { name: basename(path, '.img'), kind, image, createdAt: new Date().toISOString() });
    }
  }

  /** Removes the layers that VMs have left whose records are gone, such as after a reboot. */
  async prune(dryRun = false): Promise<PrunedThing[]> {
    const paths = await sweepPassing(passingFolder(this.#directory), isHeld, dryRun);
    const files = await sweepTemporaries(keptFolder(this.#directory), dryRun);
    return [
      ...paths.map((name) => ({ kind: 'layer', name }) as const),
      ...files.map(({ path }) => ({ kind: 'temporary-file', name: path }) as const),
    ];
  }
}

async function takePassing({ path }: LayerPlan, holder: Holder): Promise<Undo> {
  const lease = leaseOf(path);
  if (!writeHolder(lease, holder)) {
    throw new SmartVMError('FILE_WRITE_FAILED', `${lease} is there already`);
  }
  const undo = async () => {
    await rm(path, { force: true });
    await unlink(lease);
  };
  await createEmpty(path).catch(async (error: unknown) => {
    await undo();
    throw error;
  });
  return undo;
}

/** The layer is this VM's from here on; it is as it was planned, and sound as far as can be told without taking it apart. */
async function takeKept(plan: LayerPlan, holder: Holder, signal: AbortSignal): Promise<Undo> {
  const { path, found, sizeMib } = plan;
  await reclaimLeft(path);
  const lease = await leaseLayer(path, holder, isHeld, signal);
  const undo = async () => {
    if (!isKept(path)) {
      await rm(path, { force: true });
    }
    await lease.release();
  };
  try {
    if ((await readKeptLayer(path))?.createdAt !== found?.createdAt) {
      throw new SmartVMError(
        'LAYER_IN_USE',
        `layer ${path} was made or removed by another program just now; try again`,
      );
    }
    if (!found) {
      await rm(path, { force: true }); // of a start that was not through
      await createEmpty(path);
    } else if ((await assertSound(path)) < sizeMib * MIB) {
      await truncate(path, sizeMib * MIB);
    }
  } catch (error) {
    await undo();
    throw error;
  }
  return undo;
}

/** The guest has mounted its root file system. @throws SmartVMError LAYER_DAMAGED where it could not */
async function assertMounted({ path }: LayerPlan, guest: Guest | undefined, failed: Promise<never>): Promise<void> {
  const first = guest && new Execution(async () => guest, ['true']);
  await Promise.race([first, failed]).catch((error: unknown) => {
    const [, why] = (isSmartVMError(error) && ROOT_FAILED.exec(error.message)) || [];
    throw why === undefined ? error : damaged(path, why.trim(), error);
  });
}

/** A VM whose program and keeper were killed may have a VMM that still writes: it is ended before another has its layer. */
async function reclaimLeft(path: string): Promise<void> {
  const holder = await readHolder(leaseOf(path));
  if (holder !== undefined && holder !== 'unknown' && !(await isHolderAlive(holder))) {
    const record = await recordOf(holder);
    await (record && reclaim(holder.runtimeDir, record));
  }
}

/** Until a VM has been cleared up behind, what it had is its own. */
async function isHeld(holder: Holder): Promise<boolean> {
  return (await isHolderAlive(holder)) || (await recordOf(holder)) !== undefined;
}

async function recordOf(holder: Holder): Promise<VmRecord | undefined> {
  const record = await readRecord(holder.runtimeDir).catch(() => undefined);
  return record && isSameHolder({ ...holder, id: record.id, owner: record.owner }, holder) ? record : undefined;
}
