import { SmartVMError } from '../errors.js';
import { isValidVmId, VM_ID_RULE } from './ids.js';
import { assertOptions } from './validation/assert-options.js';
import { flag, integer, object, oneOf, rule } from './validation/checks.js';

/**
 * How a VM writes. `overlay`: an ext4 drive of its own, laid over the image, which is only read. `reflink`: a copy of the image's ext4
 * root file system that shares its blocks until they are written to, on file systems that can (XFS, Btrfs). `copy`: such a copy with
 * blocks of its own.
 */
export type LayerKind = 'overlay' | 'reflink' | 'copy';

export const MIN_LAYER_MIB = 16;
export const MAX_LAYER_MIB = 16 * 1024 * 1024;

/** How and where what a VM writes is kept. */
export interface LayerOptions {
  /** Default `auto`: `reflink` where root file system and host can, else `overlay`. */
  layer?: LayerKind | 'auto' | undefined;
  /**
   * Size in MiB of the file system that takes the VM's writes, sparse on the host; 16 to 16,777,216. Default 1,024 for an overlay, the
   * size of the image for a copy, and for a layer that was kept the size that it has. Such a layer grows to it, and never shrinks.
   */
  diskSizeMib?: number | undefined;
  /** Whether what the VM writes goes with it. Default true. `false` keeps it, for the next VM that is launched with its name. */
  ephemeral?: boolean | undefined;
  /** What a layer that is kept is found by, as an id. Default: the VM's name, else the id that it is given. */
  layerName?: string | undefined;
}

const check = object<LayerOptions>({
  layer: oneOf('auto', 'overlay', 'reflink', 'copy'),
  diskSizeMib: integer(MIN_LAYER_MIB, MAX_LAYER_MIB),
  ephemeral: flag,
  layerName: rule(isValidVmId, VM_ID_RULE),
});

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertLayerOptions({ layer, diskSizeMib, ephemeral, layerName }: LayerOptions): void {
  assertOptions(check, { layer, diskSizeMib, ephemeral, layerName }, 'layer');
  if (layerName !== undefined && ephemeral !== false) {
    throw new SmartVMError('INVALID_OPTION', 'layerName: only a layer that is kept has a name; add `ephemeral: false`');
  }
}

/** The name of the layer that a VM keeps; undefined for one that goes with it. @throws SmartVMError INVALID_OPTION */
export function keptLayerName(options: LayerOptions & { name?: string | undefined; id?: string | undefined }) {
  if (options.ephemeral !== false) {
    return undefined;
  }
  const name = options.layerName ?? options.name ?? options.id;
  if (name === undefined) {
    throw new SmartVMError(
      'INVALID_OPTION',
      'ephemeral: a layer that is kept needs a name by which it is found again; give layerName, name or id',
    );
  }
  return name;
}
