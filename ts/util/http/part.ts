import { createHash, randomUUID } from 'node:crypto';
import { rename, rm, unlink } from 'node:fs/promises';
import { writeFileAtomic } from '../atomic-file.js';
import { readBoundedText } from '../bounded-file.js';
import { type HashedContent, HashedWriter } from '../hashed-file.js';
import { parseSafeJson } from '../safe-json.js';
import { TransferFailure } from './failure.js';
import type { HttpAnswer } from './get.js';

const MAX_NOTE_BYTES = 4096;
const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/;

/** Of whom the part is: which URL, and which version of what is there. */
interface Note {
  readonly urlSha256: string;
  readonly etag: string;
}

/**
 * What has come of a transfer. A connection that breaks costs what is still to come, if the server says by a strong ETag that it is
 * still the same; so it is with a program that was killed, where the part has a place that the next one knows.
 */
export class Part implements AsyncDisposable {
  readonly path: string;
  readonly #url: string;
  readonly #isLasting: boolean;
  readonly #writer: HashedWriter;
  #etag: string | undefined;
  /** Some of it came in an earlier life. */
  inherited: boolean;

  private constructor(path: string, url: string, isLasting: boolean, writer: HashedWriter, etag?: string) {
    this.path = path;
    this.#url = url;
    this.#isLasting = isLasting;
    this.#writer = writer;
    this.#etag = etag;
    this.inherited = writer.sizeBytes > 0;
  }

  /** @param lastingPath where a part may have been left; nobody else may use it meanwhile */
  static async open(target: string, url: string, lastingPath?: string): Promise<Part> {
    if (lastingPath === undefined) {
      const path = `${target}.${randomUUID()}.part`;
      return new Part(path, url, false, await HashedWriter.open(path));
    }
    const etag = await readNote(lastingPath, url);
    const writer = etag === undefined ? undefined : await HashedWriter.resume(lastingPath).catch(() => undefined);
    if (writer) {
      return new Part(lastingPath, url, true, writer, etag);
    }
    await rm(lastingPath, { recursive: true, force: true });
    return new Part(lastingPath, url, true, await HashedWriter.open(lastingPath));
  }

  get sizeBytes(): number {
    return this.#writer.sizeBytes;
  }

  /** What to ask the server for; undefined: all of it. */
  range(): { offset: number; etag: string } | undefined {
    return this.sizeBytes > 0 && this.#etag !== undefined ? { offset: this.sizeBytes, etag: this.#etag } : undefined;
  }

  /**
   * Judges an answer: whether its body goes on where the part ends, or is all of it.
   * @returns the size of the whole, where it is known
   * @throws TransferFailure when it is neither; the next try asks for all of it
   */
  async begin(answer: HttpAnswer): Promise<number | undefined> {
    const { status, headers } = answer;
    if (status === 206) {
      const total = this.#totalOfRest(headers);
      if (total !== undefined) {
        return total;
      }
    }
    await this.restart();
    if (status !== 200) {
      const why = status === 206 ? 'it answered with another part than was asked for' : `it answered ${status}`;
      throw new TransferFailure(`${why}, where the rest was asked for`, { status, retryable: true });
    }
    const { etag } = headers;
    this.#etag = etag !== undefined && /^"[\x21\x23-\x7e]*"$/.test(etag) ? etag : undefined;
    if (this.#isLasting && this.#etag !== undefined) {
      await writeFileAtomic(noteOf(this.path), JSON.stringify({ urlSha256: sha256(this.#url), etag: this.#etag }));
    }
    const { 'content-length': length } = headers;
    return length === undefined ? undefined : Number(length);
  }

  async write(piece: Uint8Array): Promise<void> {
    await this.#writer.write(piece);
  }

  async settle(): Promise<void> {
    await this.#writer.settle();
  }

  async restart(): Promise<void> {
    this.#etag = undefined;
    this.inherited = false;
    await this.#writer.restart();
  }

  async finish(mode: number): Promise<HashedContent> {
    return await this.#writer.finish(mode);
  }

  /** Puts the finished file in its place. */
  async moveTo(target: string): Promise<void> {
    await rename(this.path, target);
    await rm(noteOf(this.path), { force: true });
  }

  async remove(): Promise<void> {
    await Promise.all([this.path, noteOf(this.path)].map((path) => unlink(path).catch(() => undefined)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
  }

  #totalOfRest(headers: HttpAnswer['headers']): number | undefined {
    const [, first, last, total] = CONTENT_RANGE.exec(headers['content-range'] ?? '') ?? [];
    const length = headers['content-length'];
    const isRest =
      Number(first) === this.sizeBytes &&
      Number(last) === Number(total) - 1 &&
      (length === undefined || Number(length) === Number(total) - this.sizeBytes) &&
      (headers.etag === undefined || headers.etag === this.#etag);
    return isRest ? Number(total) : undefined;
  }
}

async function readNote(path: string, url: string): Promise<string | undefined> {
  try {
    const note = parseSafeJson(await readBoundedText(noteOf(path), MAX_NOTE_BYTES, false)) as Partial<Note>;
    return note.urlSha256 === sha256(url) && typeof note.etag === 'string' ? note.etag : undefined;
  } catch {
    return undefined;
  }
}

const noteOf = (path: string) => `${path}.json`;
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
