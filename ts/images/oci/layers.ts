import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { requireTools, run } from '../../util/run.js';
import { type Descriptor, refused } from './manifest.js';
import { type TarEntry, TarScanner } from './tar-scan.js';

/** What an image may unpack to. */
export interface UnpackLimits {
  /** Bytes of all layers' tar archives together. */
  readonly maxUnpackedBytes: number;
  /** Members of all layers together. */
  readonly maxEntries: number;
}

export const DEFAULT_LIMITS: UnpackLimits = { maxUnpackedBytes: 32 * 2 ** 30, maxEntries: 2_000_000 };

/** A layer whose bytes and members have been looked at. */
export interface CheckedLayer {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string;
}

/** A blob that is not what its name says: it is to be fetched again. */
export class CorruptBlob extends Error {
  readonly path: string;

  constructor(path: string, why: string) {
    super(`${path}: ${why}`);
    this.path = path;
  }
}

const MEDIA_TYPE = 'application/vnd.oci.image.layer.v1.tar';
const MAX_PATH_BYTES = 4096;
const MAX_PART_BYTES = 255;
/** A regular file, links, devices, a folder, a pipe, and one that asked to be stored in one piece. */
const KNOWN_TYPES = '01234567';

/**
 * Looks at every byte and every member of an image's layers before any tool unpacks them: digests, the limits, and what no image
 * that was made in good faith has.
 */
export class LayerCheck {
  readonly #name: string;
  readonly #limits: UnpackLimits;
  readonly #signal: AbortSignal | undefined;
  #bytes = 0;
  #entries = 0;
  #newest = 0;

  constructor(name: string, limits: UnpackLimits, signal?: AbortSignal) {
    this.#name = name;
    this.#limits = limits;
    this.#signal = signal;
  }

  /** When the newest member of all layers was changed, in seconds since 1970. */
  get newest(): number {
    return this.#newest;
  }

  /** Of all layers' tar archives. */
  get unpackedBytes(): number {
    return this.#bytes;
  }

  /**
   * @param path the layer's blob
   * @param diffId the digest of its tar archive
   * @param workDirectory takes the tar archive where the blob is of a kind that umoci does not read
   * @throws CorruptBlob; SmartVMError IMAGE_REFUSED, TOOL_MISSING, CANCELED
   */
  async check(path: string, blob: Descriptor, diffId: string, workDirectory: string): Promise<CheckedLayer> {
    const kind = await compressionOf(path);
    if (kind === 'zstd') {
      await this.#assertDigest(path, blob);
      const unpacked = join(workDirectory, `${diffId.slice('sha256:'.length)}.tar`);
      await this.#unpackZstd(path, unpacked);
      const size = await this.#scan(unpacked, 'plain', undefined, diffId);
      return { path: unpacked, digest: diffId, size, mediaType: MEDIA_TYPE };
    }
    await this.#scan(path, kind, blob, diffId);
    return { path, ...blob, mediaType: kind === 'gzip' ? `${MEDIA_TYPE}+gzip` : MEDIA_TYPE };
  }

  /** Hashes the file and what is packed in it, and looks at each member, in one pass. */
  async #scan(path: string, kind: 'gzip' | 'plain', blob: Descriptor | undefined, diffId: string): Promise<number> {
    const [packed, unpacked] = [createHash('sha256'), createHash('sha256')];
    const scanner = new TarScanner((entry) => this.#take(entry));
    let size = 0;
    let broken: unknown;
    const sink = async (chunks: AsyncIterable<Buffer>) => {
      try {
        for await (const chunk of chunks) {
          unpacked.update(chunk);
          this.#count(chunk.length);
          size += chunk.length;
          scanner.write(chunk);
        }
        scanner.end();
      } catch (error) {
        broken = error; // the pipeline may tell of what follows from it first
        throw error;
      }
    };
    const source = createReadStream(path, { highWaterMark: 1 << 20 });
    const signal = this.#signal ? { signal: this.#signal } : {};
    await (kind === 'gzip'
      ? pipeline(source, hashing(packed), createGunzip({ chunkSize: 1 << 20 }), sink, signal)
      : pipeline(source, hashing(packed), sink, signal)
    ).catch((error: unknown) => {
      broken ??= error;
    });
    this.#signal?.throwIfAborted();
    if (broken) {
      await this.#assertBlob(path, blob); // whose fault it is
      throw asRefusal(broken, this.#name, blob?.digest ?? diffId);
    }
    if (blob && `sha256:${packed.digest('hex')}` !== blob.digest) {
      throw new CorruptBlob(path, 'it has other bytes than its name says');
    }
    const found = `sha256:${unpacked.digest('hex')}`;
    if (found !== diffId) {
      throw refused(this.#name, `a layer unpacks to ${found}, not to the ${diffId} of its configuration`);
    }
    return size;
  }

  async #assertBlob(path: string, blob: Descriptor | undefined): Promise<void> {
    if (blob) {
      await this.#assertDigest(path, blob);
    }
  }

  async #assertDigest(path: string, { digest }: Descriptor): Promise<void> {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      hash.update(chunk as Buffer);
    }
    if (`sha256:${hash.digest('hex')}` !== digest) {
      throw new CorruptBlob(path, 'it has other bytes than its name says');
    }
  }

  async #unpackZstd(path: string, target: string): Promise<void> {
    await requireTools(['zstd', 'prlimit']);
    const most = this.#limits.maxUnpackedBytes - this.#bytes;
    const tool = ['zstd', '--decompress', '--quiet', '--no-progress', '-o', target, '--', path];
    await run('prlimit', [`--fsize=${most}`, '--', ...tool], { signal: this.#signal });
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#limits.maxUnpackedBytes) {
      throw refused(this.#name, `it unpacks to more than ${this.#limits.maxUnpackedBytes} bytes`);
    }
  }

  #take(entry: TarEntry): void {
    this.#entries += 1;
    if (this.#entries > this.#limits.maxEntries) {
      throw refused(this.#name, `it has more than ${this.#limits.maxEntries} files`);
    }
    const problem = problemOf(entry);
    if (problem) {
      throw refused(this.#name, `a layer has ${JSON.stringify(entry.path.slice(0, 200))}, ${problem}`, {
        path: entry.path.slice(0, MAX_PATH_BYTES),
      });
    }
    if (entry.mtime > this.#newest) {
      this.#newest = entry.mtime;
    }
  }
}

/** What is wrong with a member, whatever unpacks it. */
function problemOf({ path, type, linkPath, sparse }: TarEntry): string | undefined {
  const parts = path.split('/');
  // Some tools write the root itself so.
  if (path.startsWith('/') && !/^\/+$/.test(path)) {
    return 'a path from the root on';
  }
  // The root as a link has led tools that unpack out of their folder (CVE-2021-29136).
  if (!'05'.includes(type) && parts.every((part) => part === '' || part === '.')) {
    return 'in place of its root folder';
  }
  if (parts.includes('..') || (type === '1' && linkPath.split('/').includes('..'))) {
    return 'which leads out of the image';
  }
  if (path.includes('\0') || linkPath.includes('\0')) {
    return 'with a NUL in its name';
  }
  if (Buffer.byteLength(path) > MAX_PATH_BYTES || parts.some((part) => Buffer.byteLength(part) > MAX_PART_BYTES)) {
    return 'a name that is too long for Linux';
  }
  if (sparse) {
    return 'a file with holes, which unpacks to more than there is';
  }
  return KNOWN_TYPES.includes(type) ? undefined : `which is of the unknown type ${JSON.stringify(type)}`;
}

async function compressionOf(path: string): Promise<'gzip' | 'zstd' | 'plain'> {
  const file = await open(path, 'r');
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
    if (buffer.readUInt16BE(0) === 0x1f8b) {
      return 'gzip';
    }
    return buffer.readUInt32BE(0) === 0x28b52ffd ? 'zstd' : 'plain';
  } finally {
    await file.close();
  }
}

function hashing(hash: Hash): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
}

function asRefusal(error: unknown, name: string, digest: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  const isSystem = code !== undefined && /^E[A-Z]+$/.test(code);
  return isSystem || (error as Error).name === 'SmartVMError'
    ? error
    : refused(name, `layer ${digest} is damaged: ${message}`);
}
