import type { Readable, Writable } from 'node:stream';
import { refused } from './answers.js';

/** The kinds of records of a tree on its way: see docs/guest-protocol.md. */
export const RECORD = {
  entry: 0x45,
  data: 0x44,
  hole: 0x48,
  finish: 0x46,
  skipped: 0x53,
  end: 0x5a,
} as const;

export const MAX_RECORD_BYTES = 256 * 1024;
const HEADER_BYTES = 5;
/** Records are sent together until they have as many bytes. */
const BATCH_BYTES = 128 * 1024;

export interface TreeRecord {
  readonly kind: number;
  readonly payload: Buffer;
}

/** An entry as the stream has it; names are bytes in base64. */
export interface WireEntry {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink';
  readonly size?: number;
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly mtimeNs?: string | undefined;
  readonly target?: string;
}

/** Sends records, no faster than they are taken. */
export class RecordWriter {
  readonly #to: Writable;
  #batch: Buffer[] = [];
  #bytes = 0;
  #isOver = false;
  #wake: (() => void) | undefined;

  /** @param over settles when nobody takes more */
  constructor(to: Writable, over: Promise<unknown>) {
    this.#to = to;
    const wake = () => this.#wake?.();
    const end = () => {
      this.#isOver = true;
      wake();
    };
    to.on('drain', wake).once('close', end);
    over.then(end, end);
  }

  /** Nothing more is taken: the operation has failed, which it says itself. */
  get isOver(): boolean {
    return this.#isOver;
  }

  async write(kind: number, payload: Uint8Array = Buffer.alloc(0)): Promise<void> {
    const header = Buffer.alloc(HEADER_BYTES);
    header[0] = kind;
    header.writeUInt32BE(payload.length, 1);
    this.#batch.push(header, Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength));
    this.#bytes += HEADER_BYTES + payload.length;
    if (this.#bytes >= BATCH_BYTES) {
      await this.#flush();
    }
  }

  async writeEntry(entry: WireEntry): Promise<void> {
    await this.write(RECORD.entry, Buffer.from(JSON.stringify(entry)));
  }

  async writeHole(bytes: number): Promise<void> {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(bytes));
    await this.write(RECORD.hole, length);
  }

  async end(): Promise<void> {
    await this.write(RECORD.end);
    await this.#flush();
    this.#to.end();
  }

  async #flush(): Promise<void> {
    const batch = Buffer.concat(this.#batch);
    this.#batch = [];
    this.#bytes = 0;
    if (!this.#isOver && !this.#to.write(batch)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#isOver && resolve();
      });
    }
  }
}

/** Reads records, whatever a guest sends. */
export class RecordReader {
  readonly #from: AsyncIterator<Buffer>;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(stream: Readable) {
    this.#from = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** Undefined at the end of the stream. @throws SmartVMError GUEST_FILE_REFUSED for a record that is too long */
  async next(): Promise<TreeRecord | undefined> {
    const header = await this.#take(HEADER_BYTES);
    if (!header) {
      return undefined;
    }
    const length = header.readUInt32BE(1);
    if (length > MAX_RECORD_BYTES) {
      throw refused(`a record of ${length} bytes`);
    }
    const payload = length === 0 ? Buffer.alloc(0) : await this.#take(length);
    return payload && { kind: header[0] as number, payload };
  }

  /**
   * Waits for the end of the stream, which is told to those alone who read up to it: a stream that an iterator reads flows for nobody else.
   * @throws SmartVMError GUEST_FILE_REFUSED when more comes
   */
  async end(): Promise<void> {
    if (this.#bytes > 0 || !(await this.#from.next()).done) {
      throw refused('more than a tree');
    }
  }

  async #take(count: number): Promise<Buffer | undefined> {
    while (this.#bytes < count) {
      const { done, value } = await this.#from.next();
      if (done) {
        return undefined;
      }
      this.#chunks.push(value);
      this.#bytes += value.length;
    }
    this.#bytes -= count;
    const taken: Buffer[] = [];
    let used = 0;
    for (let missing = count; missing > 0; ) {
      const chunk = this.#chunks[used] as Buffer;
      taken.push(chunk.subarray(0, missing));
      if (chunk.length <= missing) {
        used += 1;
      } else {
        this.#chunks[used] = chunk.subarray(missing);
      }
      missing -= Math.min(missing, chunk.length);
    }
    this.#chunks.splice(0, used); // not one by one: a guest can send a record in as many chunks as it has bytes
    return taken.length === 1 ? taken[0] : Buffer.concat(taken, count);
  }
}
