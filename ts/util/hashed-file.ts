import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** Of small pieces this much is gathered for one write: each costs a trip to another thread. */
const BATCH_BYTES = 1 << 20;

export interface HashedContent {
  readonly sizeBytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** Writes a file and hashes what it writes. While one batch is on its way to the file, the next is gathered and hashed. */
export class HashedWriter implements AsyncDisposable {
  readonly #file: FileHandle;
  #hash = createHash('sha256');
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #sizeBytes = 0;
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Makes the file (0600), which must not exist: a planted link is an error, not a target. */
  static async open(path: string): Promise<HashedWriter> {
    return new HashedWriter(await open(path, 'wx', 0o600));
  }

  /** Goes on behind what a file of this user has, which is read for its hash. @throws Error when it is no regular file */
  static async resume(path: string): Promise<HashedWriter> {
    const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const writer = new HashedWriter(file);
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.nlink !== 1 || stat.uid !== process.getuid?.()) {
        throw new Error(`${path} is not a file of this user's own`);
      }
      const stream = file.createReadStream({ autoClose: false, start: 0, highWaterMark: BATCH_BYTES });
      for await (const piece of stream) {
        writer.#hash.update(piece as Buffer);
        writer.#sizeBytes += (piece as Buffer).length;
      }
      return writer;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** What the file has, or will have once all is written. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Takes a piece, which must not be changed afterwards. Waits while more than one batch is under way. */
  async write(piece: Uint8Array): Promise<void> {
    this.#batch.push(piece);
    this.#batchBytes += piece.length;
    this.#sizeBytes += piece.length;
    if (this.#batchBytes >= BATCH_BYTES) {
      await this.#flush();
    }
  }

  /** Waits until all that it was given is in the file. */
  async settle(): Promise<void> {
    await this.#flush();
    await this.#writing;
  }

  /** Begins anew with an empty file. */
  async restart(): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.#file.truncate(0);
    this.#hash = createHash('sha256');
    this.#batch = [];
    this.#batchBytes = 0;
    this.#sizeBytes = 0;
    this.#writing = Promise.resolve();
  }

  /** Writes the rest, sets the mode (the umask has no say), and brings the file to the disk. */
  async finish(mode: number): Promise<HashedContent> {
    await this.settle();
    await this.#file.chmod(mode);
    await this.#file.sync();
    return { sizeBytes: this.#sizeBytes, sha256: this.#hash.digest('hex') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing.catch(() => undefined); // whoever waited for it was told
    await this.#file.close();
  }

  async #flush(): Promise<void> {
    const batch = this.#batch;
    const position = this.#sizeBytes - this.#batchBytes;
    this.#batch = [];
    this.#batchBytes = 0;
    await this.#writing;
    this.#writing = writeAll(this.#file, batch, position);
    this.#writing.catch(() => undefined); // the next write or finish says it
    for (const piece of batch) {
      this.#hash.update(piece);
    }
  }
}

/** writev(2) may write less than it was given. */
async function writeAll(file: FileHandle, pieces: readonly Uint8Array[], position: number): Promise<void> {
  const total = pieces.reduce((sum, { length }) => sum + length, 0);
  if (total === 0) {
    return;
  }
  const { bytesWritten } = await file.writev(pieces, position);
  const rest = bytesWritten < total ? Buffer.concat(pieces).subarray(bytesWritten) : Buffer.alloc(0);
  for (let written = 0; written < rest.length; ) {
    const result = await file.write(rest, written, rest.length - written, position + bytesWritten + written);
    written += result.bytesWritten;
  }
}
