import { createHash } from 'node:crypto';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { isSmartVMError, SmartVMError } from '../errors.js';
import { throwIfCanceled } from '../util/deadline.js';
import { requireTools } from '../util/run.js';
import type { ProgressListener } from './image-types.js';
import { unknownImage } from './reference.js';
import { type PackedFsType, packingTools, packRoot } from './root-file-system.js';
import type { BlobRef } from './store/blobs.js';
import type { BuildSession } from './store/build-session.js';

/** Raised with every change to what the functions here make of a folder. */
const DIRECTORY_RECIPE = 'directory-1';
const MAX_ENTRIES = 2_000_000;

interface DirectoryBuild {
  readonly session: BuildSession;
  readonly onProgress: ProgressListener;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Tells a folder with a root file system from what it is when anything below has changed: names, sizes, modes, owners, times.
 * @throws SmartVMError IMAGE_UNKNOWN, IMAGE_REFUSED
 */
export async function directoryRecipe(path: string): Promise<string> {
  const { hash } = await survey(path);
  return `${DIRECTORY_RECIPE}-${hash}`;
}

/**
 * Makes a root file system of a folder as it is. Other file systems that are mounted below it are left out, as is what is in its /dev.
 * @throws SmartVMError IMAGE_REFUSED, IMAGE_BUILD_FAILED, TOOL_MISSING, CANCELED
 */
export async function buildDirectoryRoot(
  path: string,
  fsType: PackedFsType,
  { session, onProgress, signal }: DirectoryBuild,
): Promise<{ rootfs: BlobRef }> {
  await requireTools(packingTools(fsType));
  const { newest } = await survey(path);
  onProgress({ step: 'rootfs', message: `packing ${path} as ${fsType}` });
  const file = session.newFile();
  try {
    const options = { cwd: session.workDirectory, signal };
    await packRoot(path, file, { fsType, sourceDateEpoch: newest, options });
  } catch (cause) {
    throwIfCanceled(signal, `making an image of ${path}`);
    throw isSmartVMError(cause, 'TOOL_FAILED')
      ? new SmartVMError('IMAGE_BUILD_FAILED', `no image could be made of ${path}: ${cause.message}`, { cause })
      : cause;
  }
  return { rootfs: await session.putFile(file, { signal }) };
}

async function survey(path: string): Promise<{ hash: string; newest: number }> {
  const stat = await lstat(path).catch(() => undefined);
  if (!stat) {
    throw unknownImage(path, `there is no folder ${path}`);
  }
  if (!stat.isDirectory()) {
    throw refusedFolder(path, 'it is no folder (a link is not followed)');
  }
  if (await lstat(join(path, 'oci-layout')).catch(() => undefined)) {
    throw refusedFolder(path, `it is an OCI layout; for the image in it: oci:${path}`);
  }
  const walk = new Walk(stat.dev);
  try {
    await walk.look(path, '');
  } catch (cause) {
    throw cause instanceof SmartVMError ? cause : refusedFolder(path, (cause as Error).message, cause);
  }
  return { hash: walk.hash.digest('hex').slice(0, 32), newest: walk.newest };
}

class Walk {
  readonly hash = createHash('sha256');
  newest = 0;
  readonly #dev: number;
  #entries = 0;

  constructor(dev: number) {
    this.#dev = dev;
  }

  async look(path: string, name: string): Promise<void> {
    const stat = await lstat(path, { bigint: true });
    const { mode, uid, gid, size, mtimeNs, ctimeNs, ino } = stat;
    const isDirectory = stat.isDirectory();
    // A folder's size is its file system's own affair.
    this.hash.update(`${name}\0${mode} ${uid} ${gid} ${isDirectory ? '' : size} ${mtimeNs} ${ctimeNs} ${ino}\n`);
    this.newest = Math.max(this.newest, Number(mtimeNs / 1_000_000_000n));
    this.#entries += 1;
    if (this.#entries > MAX_ENTRIES) {
      throw new Error(`it has more than ${MAX_ENTRIES} files`);
    }
    if (isDirectory && Number(stat.dev) === this.#dev && name !== '/dev') {
      const names: string[] = [];
      for await (const entry of await opendir(path)) {
        names.push(entry.name);
      }
      for (const child of names.toSorted()) {
        await this.look(join(path, child), `${name}/${child}`);
      }
    }
  }
}

function refusedFolder(path: string, why: string, cause?: unknown): SmartVMError {
  return new SmartVMError('IMAGE_REFUSED', `${path} is no image: ${why}`, { cause, details: { image: path } });
}
