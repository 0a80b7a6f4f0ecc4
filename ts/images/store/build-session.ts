import { constants, lstatSync } from 'node:fs';
import { mkdir, open, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { throwIfCanceled } from '../../util/deadline.js';
import { lockFile } from '../../util/file-lock.js';
import { HashedWriter } from '../../util/hashed-file.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import { currentBootId, currentProcess, isActiveSync } from '../../util/process-identity.js';
import { recordFile, sealFile } from '../../util/verified-file.js';
import { removeBuild } from '../build-sandbox.js';
import type { BlobRef, Blobs } from './blobs.js';

export interface BlobLimits {
  /** More is refused. Default 64 GiB. */
  readonly maxBytes?: number | undefined;
  /** What it must be, where that is known. */
  readonly sha256?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MAX_BLOB_BYTES = 64 * 1024 ** 3;
const READ_ONLY = 0o444;
const FOLDER = /^[^.].*\.(\d+)-(\d+)-([0-9a-z-]+)$/;

/** Held by whoever adds to the store or takes from it, for moments: what is added and not yet in a manifest is not taken away. */
export function storeLock(root: string): string {
  return join(root, 'store.lock');
}

/** The making of one image: a folder for its work, and the way of its parts into the store. Its content is nobody's until a manifest names it. */
export class BuildSession implements AsyncDisposable {
  /** Empty, on the store's file system, for what is not kept. */
  readonly workDirectory: string;
  /** The store's directory. */
  readonly root: string;
  readonly #folder: string;
  readonly #blobs: Blobs;
  #count = 0;

  private constructor(root: string, folder: string, blobs: Blobs) {
    this.root = root;
    this.#folder = folder;
    this.#blobs = blobs;
    this.workDirectory = join(folder, 'work');
  }

  /** Under the store's lock: who takes from the store knows of the build, or is through before it looks for what is there. */
  static async open(root: string, key: string, blobs: Blobs): Promise<BuildSession> {
    const { pid, startTime, bootId } = currentProcess();
    const unique = `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
    const folder = join(buildsFolder(root), `${key}.${pid}-${startTime}-${bootId.slice(0, 8)}-${unique}`);
    await ensurePrivateDirectory(buildsFolder(root));
    const session = new BuildSession(root, folder, blobs);
    await using _lock = await lockFile(storeLock(root));
    for (const path of [folder, session.workDirectory, join(folder, 'pins')]) {
      await mkdir(path, { mode: 0o700 });
    }
    return session;
  }

  /**
   * Puts what comes from a stream into the store.
   * @throws SmartVMError IMAGE_PART_INVALID (larger than it may be, another sha256), FILE_WRITE_FAILED, CANCELED; what the stream throws
   */
  async put(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, limits: BlobLimits = {}): Promise<BlobRef> {
    const { maxBytes = MAX_BLOB_BYTES, signal } = limits;
    const temporary = this.newFile();
    await using writer = await writing(temporary, () => HashedWriter.open(temporary));
    for await (const piece of pieces) {
      throwIfCanceled(signal, 'writing a part of an image');
      await writing(temporary, () => writer.write(piece));
      assertSize(writer.sizeBytes, maxBytes);
    }
    const { sha256, sizeBytes } = await writing(temporary, () => writer.finish(READ_ONLY));
    return await this.#take(temporary, { sha256, size: sizeBytes }, limits);
  }

  async putBytes(data: Uint8Array): Promise<BlobRef> {
    return await this.put([data]);
  }

  /**
   * Takes over a file that a tool wrote in the work folder; it is gone from there.
   * @throws SmartVMError IMAGE_PART_INVALID (no regular file, larger than it may be, another sha256), FILE_WRITE_FAILED
   */
  async putFile(path: string, limits: BlobLimits = {}): Promise<BlobRef> {
    const size = await sizeOfRegular(path);
    assertSize(size, limits.maxBytes ?? MAX_BLOB_BYTES);
    await writing(path, () => sealFile(path));
    const record = await recordFile(path);
    return await this.#take(path, { sha256: record.sha256, size: record.size }, limits);
  }

  /** Takes over a file that was hashed while it was written, as {@link putFile} does. */
  async putHashed(path: string, sha256: string): Promise<BlobRef> {
    const size = await sizeOfRegular(path);
    await writing(path, () => sealFile(path));
    return await this.#take(path, { sha256, size }, {});
  }

  /** Keeps content of the store that has this sha256; undefined when there is none. */
  async keepKnown(sha256: string): Promise<BlobRef | undefined> {
    const stat = lstatSync(this.#blobs.pathOf(sha256), { throwIfNoEntry: false });
    const blob = stat?.isFile() ? { sha256, size: stat.size } : undefined;
    return blob && (await this.keep(blob)) ? blob : undefined;
  }

  /** Keeps content of the store for the manifest to come. @returns whether the store has it, whole */
  async keep(blob: BlobRef): Promise<boolean> {
    await using _lock = await lockFile(storeLock(this.root));
    await this.#pin(blob);
    return await this.#blobs.has(blob);
  }

  pathOf(blob: BlobRef): string {
    return this.#blobs.pathOf(blob.sha256);
  }

  /** A path in the session's folder where nothing is, on the store's file system: for what {@link putFile} takes then. */
  newFile(): string {
    this.#count += 1;
    return join(this.#folder, `part-${this.#count}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeBuild(this.#folder);
  }

  async #take(temporary: string, blob: BlobRef, { sha256, signal }: BlobLimits): Promise<BlobRef> {
    throwIfCanceled(signal, 'writing a part of an image');
    if (sha256 !== undefined && sha256.toLowerCase() !== blob.sha256) {
      throw new SmartVMError(
        'IMAGE_PART_INVALID',
        `a part of the image has the sha256 ${blob.sha256}, not ${sha256}; nothing of it is kept`,
      );
    }
    await using _lock = await lockFile(storeLock(this.root), signal);
    await this.#pin(blob);
    await this.#blobs.take(temporary, blob);
    return blob;
  }

  async #pin({ sha256 }: BlobRef): Promise<void> {
    await writeFile(join(this.#folder, 'pins', sha256), '');
  }
}

/** The folders of builds whose programs are dead. */
export async function abandonedBuilds(root: string): Promise<string[]> {
  return (await buildFolders(root)).filter((folder) => !builderLives(folder));
}

/** Whether a program is making an image, these builds aside. */
export async function hasLiveBuild(root: string, abandoned: readonly string[]): Promise<boolean> {
  return (await buildFolders(root)).some((folder) => !abandoned.includes(folder));
}

/** The sha256 of what builds under way have put into the store. */
export async function pinnedBlobs(root: string, abandoned: readonly string[]): Promise<string[]> {
  const folders = (await buildFolders(root)).filter((folder) => !abandoned.includes(folder));
  const pins = await Promise.all(folders.map((folder) => readdir(join(folder, 'pins')).catch(() => [])));
  return pins.flat();
}

async function buildFolders(root: string): Promise<string[]> {
  return (await readdir(buildsFolder(root)).catch(() => [])).map((name) => join(buildsFolder(root), name));
}

/** A program whose lock the kernel has given to us may be ending for moments yet: it is dead, for it cannot write any more. */
function builderLives(folder: string): boolean {
  const [, pid, startTime = '', rest = ''] = FOLDER.exec(basename(folder)) ?? [];
  const bootId = currentBootId();
  return rest.startsWith(bootId.slice(0, 8)) && isActiveSync({ pid: Number(pid), startTime, bootId }, bootId);
}

function buildsFolder(root: string): string {
  return join(root, 'building');
}

function assertSize(size: number, maxBytes: number): void {
  if (size > maxBytes) {
    throw new SmartVMError(
      'IMAGE_PART_INVALID',
      `a part of the image is over the limit of ${maxBytes} bytes; nothing of it is kept`,
      { details: { maxBytes } },
    );
  }
}

async function sizeOfRegular(path: string): Promise<number> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK; // a FIFO does not make us wait
  const file = await open(path, flags).catch((cause: Error) => {
    throw new SmartVMError('IMAGE_PART_INVALID', `${path} cannot be taken into the store: ${cause.message}`, { cause });
  });
  try {
    const stat = await file.stat();
    if (!stat.isFile()) {
      throw new SmartVMError('IMAGE_PART_INVALID', `${path} cannot be taken into the store: it is no regular file`);
    }
    return stat.size;
  } finally {
    await file.close();
  }
}

async function writing<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    throw new SmartVMError('FILE_WRITE_FAILED', `cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
}
