import { randomUUID } from 'node:crypto';
import { constants, statfsSync } from 'node:fs';
import { chmod, copyFile, rm, stat, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { LayerKind } from '../../config/layers.js';
import { SmartVMError } from '../../errors.js';
import { run } from '../../util/run.js';
import { fillOverlay, type OverlayFormat } from '../overlay.js';

export interface LayerFill {
  readonly kind: LayerKind;
  /** The image's root file system. */
  readonly rootfs: string;
  /** Where templates are. */
  readonly cacheDir: string;
  readonly format: OverlayFormat;
  readonly sizeMib: number;
}

const MIB = 1024 * 1024;

/**
 * Gives an empty file what a VM begins with. The file stays the one that it is: it may be mounted elsewhere already.
 * @throws SmartVMError FILE_WRITE_FAILED, LAYER_UNSUPPORTED, TOOL_MISSING, TOOL_FAILED, INVALID_OPTION
 */
export async function fillLayer(path: string, { kind, rootfs, cacheDir, format, sizeMib }: LayerFill): Promise<void> {
  try {
    if (kind === 'overlay') {
      await fillOverlay(cacheDir, path, sizeMib, format);
    } else if (kind === 'copy') {
      await run('cp', ['--sparse=always', '--reflink=never', '--', rootfs, path]);
    } else {
      await reflink(rootfs, path);
    }
    if ((await stat(path)).size < sizeMib * MIB) {
      await truncate(path, sizeMib * MIB);
    }
  } catch (error) {
    throw explained(error, path);
  }
}

/** Whether a file can be copied to a directory by sharing its blocks. Tried once for each pair of file systems. */
export async function canReflink(file: string, directory: string): Promise<boolean> {
  const [from, to] = await Promise.all([stat(file), stat(directory)]);
  const pair = `${from.dev} ${to.dev}`;
  const known = FOUND.get(pair);
  if (known !== undefined) {
    return known;
  }
  const probe = join(directory, `.probe-${randomUUID()}`);
  const found = await copyFile(file, probe, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL).then(
    () => true,
    () => false,
  );
  await rm(probe, { force: true });
  FOUND.set(pair, found);
  return found;
}

const FOUND = new Map<string, boolean>();

async function reflink(from: string, to: string): Promise<void> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOSPC') {
      throw cause;
    }
    const why = `the file system of ${dirname(to)} cannot share blocks with ${from}`;
    throw new SmartVMError('LAYER_UNSUPPORTED', `${why}; use layer 'overlay' or 'copy'`, { cause });
  }
  await chmod(to, 0o600); // the copy has the read-only mode of the image
}

function explained(error: unknown, path: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  const isFull = code === 'ENOSPC' || /No space left on device|Disk quota exceeded/.test(message);
  if (!isFull && error instanceof SmartVMError) {
    return error;
  }
  const hint = isFull ? `no room for ${path}: ${freeMib(path)} MiB are free there` : `cannot make ${path}: ${message}`;
  return new SmartVMError('FILE_WRITE_FAILED', hint, { cause: error, details: { path } });
}

function freeMib(path: string): number {
  const { bavail, bsize } = statfsSync(dirname(path));
  return Math.floor((bavail * bsize) / MIB);
}
