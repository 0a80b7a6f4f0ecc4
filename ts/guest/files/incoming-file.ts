import { randomBytes } from 'node:crypto';
import { closeSync, constants, fchmodSync, futimesSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import type { WireEntry } from './records.js';

/** What a guest says of setuid and setgid is not for a host's files. */
export const HOST_MODE = 0o777;
const DEFAULT_MODE = 0o644;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const NS_PER_S = 1e9;
const SMALL_BYTES = 64 * 1024;

/** A file of the host that a guest sends: made beside its place, which it takes when it is whole. */
export class IncomingFile {
  readonly #path: Buffer;
  readonly #temporary: Buffer;
  readonly #entry: WireEntry;
  #file: FileHandle | undefined;
  /** The first piece waits, for it may be all of the file. */
  #first: Buffer | undefined;
  #length = 0;
  #written = 0;

  constructor(path: Buffer, entry: WireEntry) {
    this.#path = path;
    this.#temporary = temporaryFor(path);
    this.#entry = entry;
  }

  /** In bytes, with the holes. */
  get length(): number {
    return this.#length;
  }

  async write(piece: Buffer): Promise<void> {
    const at = this.#length;
    this.#length += piece.length;
    if (at === 0) {
      this.#first = piece;
      return;
    }
    await this.#write(piece, at);
  }

  skip(bytes: number): void {
    this.#length += bytes;
  }

  /** Whether all of it is there, and small: {@link finishNow} is quicker then. */
  get isSmall(): boolean {
    return this.#length <= SMALL_BYTES && this.#length === (this.#first?.length ?? 0);
  }

  /** As {@link finish}, without the way to another thread for each step, which takes longer than the steps of a small file. */
  finishNow(): void {
    const { mode = DEFAULT_MODE, mtimeNs } = this.#entry;
    try {
      const file = openSync(this.#temporary, NEW_FILE, 0o600);
      try {
        const bytes = this.#first ?? Buffer.alloc(0);
        for (let done = 0; done < bytes.length; ) {
          done += writeSync(file, bytes, done);
        }
        fchmodSync(file, mode & HOST_MODE);
        futimesSync(file, ...timesOf(mtimeNs));
      } finally {
        closeSync(file);
      }
      renameSync(this.#temporary, this.#path);
    } catch (error) {
      removeNow(this.#temporary);
      throw error;
    }
  }

  async finish(): Promise<void> {
    const { mode = DEFAULT_MODE, mtimeNs } = this.#entry;
    try {
      const file = await this.#opened();
      if (this.#length > this.#written) {
        await file.truncate(this.#length);
      }
      await file.chmod(mode & HOST_MODE);
      await file.utimes(...timesOf(mtimeNs));
      await file.close();
      await rename(this.#temporary, this.#path);
    } catch (error) {
      await this.abandon();
      throw error;
    }
  }

  /** Nothing is left of it. */
  async abandon(): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    await rm(this.#temporary, { force: true }).catch(() => undefined);
  }

  async #opened(): Promise<FileHandle> {
    this.#file ??= await open(this.#temporary, NEW_FILE, 0o600);
    const first = this.#first;
    if (first) {
      this.#first = undefined;
      await this.#write(first, 0);
    }
    return this.#file;
  }

  async #write(bytes: Buffer, at: number): Promise<void> {
    const file = await this.#opened();
    for (let done = 0; done < bytes.length; ) {
      done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
    }
    this.#written = at + bytes.length;
  }
}

/** Has something made beside its place, and puts it there. What fails leaves nothing. */
export async function replace(path: Buffer, create: (temporary: Buffer) => Promise<unknown>): Promise<void> {
  const temporary = temporaryFor(path);
  try {
    await create(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

function removeNow(path: Buffer): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The failure before it is told.
  }
}

function temporaryFor(path: Buffer): Buffer {
  const directory = path.subarray(0, path.lastIndexOf(0x2f) + 1);
  return Buffer.concat([directory, Buffer.from(`.smartvm-${randomBytes(8).toString('hex')}`)]);
}

/** Now, and when the guest has changed it last. */
export function timesOf(mtimeNs: string | undefined): [accessed: Date, modified: number | Date] {
  const now = new Date();
  return [now, mtimeNs === undefined ? now : Number(mtimeNs) / NS_PER_S];
}
