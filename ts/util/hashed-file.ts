import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';

/** Of small pieces this much is gathered for one write: each costs a trip to another thread. */
const BATCH_BYTES = 1 << 20;

export interface HashedContent {
  readonly sizeBytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** Writes a new file and hashes what it writes. While one batch is on its way to the file, the next is gathered and hashed. */
export class HashedWriter implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #hash = createHash('sha256');
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

  /** What it was given so far. */
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

  /** Writes the rest, sets the mode (the umask has no say), and brings the file to the disk. */
  async finish(mode: number): Promise<HashedContent> {
    await this.#flush();
    await this.#writing;
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
    this.#batch = [];
    this.#batchBytes = 0;
    await this.#writing;
    this.#writing = writeAll(this.#file, batch);
    this.#writing.catch(() => undefined); // the next write or finish says it
    for (const piece of batch) {
      this.#hash.update(piece);
    }
  }
}

/** writev(2) may write less than it was given. */
async function writeAll(file: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  const total = pieces.reduce((sum, { length }) => sum + length, 0);
  if (total === 0) {
    return;
  }
  const { bytesWritten } = await file.writev(pieces);
  if (bytesWritten < total) {
    await file.writeFile(Buffer.concat(pieces).subarray(bytesWritten));
  }
}
