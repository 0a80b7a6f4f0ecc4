import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink, stat } from 'node:fs/promises';
import { hostFailure } from './host-file.js';
import { bytesOf } from './path.js';
import { MAX_RECORD_BYTES, RECORD, type RecordWriter, type WireEntry } from './records.js';
import type { Owner, SkippedEntry, TransferProgress, TransferResult } from './types.js';

const READ_ONLY = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Files up to this size are read ahead, some at a time. */
const SMALL_BYTES = 64 * 1024;
const READ_AHEAD = 16;
/** Of zeros at least so many are a hole, in a file that has holes. */
const HOLE_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(HOLE_BYTES);
const SPARSE_READ_BYTES = 1024 * 1024;
const BLOCK_BYTES = 512;
const SLASH = Buffer.from('/');

/** What is known of a file of the host before it is sent. */
interface Found {
  readonly path: Buffer;
  /** In the tree. */
  readonly name: Buffer;
  readonly stats: BigIntStats;
  /** Of a small file, all of it. */
  readonly content: Buffer | undefined;
}

/** Sends a file or tree of the host. A link at its top is followed; the others are sent as they are. */
export class Upload {
  readonly #to: RecordWriter;
  readonly #owner: Owner;
  readonly #onProgress: ((progress: TransferProgress) => void) | undefined;
  /** The first name of each file that has several. */
  readonly #linked = new Map<string, Buffer>();
  readonly #skipped: SkippedEntry[] = [];
  #entries = 0;
  #bytes = 0;

  constructor(to: RecordWriter, owner: Owner, onProgress?: (progress: TransferProgress) => void) {
    this.#to = to;
    this.#owner = owner;
    this.#onProgress = onProgress;
  }

  /** @throws SmartVMError HOST_FILE_FAILED */
  async send(path: string): Promise<TransferResult> {
    const root = bytesOf(path);
    try {
      await this.#send({
        path: root,
        name: Buffer.from('.'),
        stats: await stat(root, { bigint: true }),
        content: undefined,
      });
      await this.#to.end();
    } catch (error) {
      throw hostFailure(error, root);
    }
    return { entries: this.#entries, bytes: this.#bytes, skipped: this.#skipped };
  }

  async #send(found: Found): Promise<void> {
    const { stats, name, path } = found;
    if (this.#to.isOver) {
      return;
    }
    if (stats.isDirectory()) {
      const children = await this.#unlessGone(found, () => readdir(path, { encoding: 'buffer' }));
      if (children) {
        await this.#begin(name, { ...this.#facts(found), type: 'directory' }, 0);
        await this.#sendChildren(found, children);
      }
    } else if (stats.isSymbolicLink()) {
      const target = await this.#unlessGone(found, () => readlink(path, { encoding: 'buffer' }));
      if (target) {
        await this.#begin(name, { ...this.#facts(found), type: 'symlink', target: target.toString('base64') }, 0);
      }
    } else if (stats.isFile()) {
      await this.#sendFile(found);
    } else if (isTopName(name)) {
      throw Object.assign(new Error(`${path} is neither a file nor a directory`), { code: 'ENOTSUP' });
    } else {
      this.#skip(name, 'ENOTSUP');
    }
  }

  async #sendChildren({ path, name }: Found, children: readonly Buffer[]): Promise<void> {
    const isTop = isTopName(name);
    for (let start = 0; start < children.length; start += READ_AHEAD) {
      const batch = children.slice(start, start + READ_AHEAD);
      const found = await Promise.all(
        batch.map((child) =>
          this.#find(Buffer.concat([path, SLASH, child]), isTop ? child : Buffer.concat([name, SLASH, child])),
        ),
      );
      for (const one of found) {
        one && (await this.#send(one));
      }
    }
  }

  /** Undefined for what has gone meanwhile, or cannot be read. */
  async #find(path: Buffer, name: Buffer): Promise<Found | undefined> {
    try {
      const stats = await lstat(path, { bigint: true });
      const isSmall = stats.isFile() && stats.nlink === 1n && stats.size <= SMALL_BYTES;
      return { path, name, stats, content: isSmall ? await contentOf(path, Number(stats.size)) : undefined };
    } catch (error) {
      this.#skip(name, (error as NodeJS.ErrnoException).code ?? 'EIO');
      return undefined;
    }
  }

  async #sendFile(found: Found): Promise<void> {
    const { path, name, stats, content } = found;
    const inode = `${stats.dev}:${stats.ino}`;
    const first = this.#linked.get(inode);
    if (first) {
      await this.#begin(name, { path: '', type: 'hardlink', target: first.toString('base64') }, 0);
      return;
    }
    const entry: WireEntry = { ...this.#facts(found), type: 'file', size: Number(stats.size) };
    if (content) {
      await this.#begin(name, entry, content.length);
      content.length > 0 && (await this.#data(content, name, content.length));
      await this.#to.write(RECORD.finish);
      return;
    }
    const flags = isTopName(name) ? READ_ONLY & ~constants.O_NOFOLLOW : READ_ONLY;
    await using file = await this.#unlessGone(found, () => open(path, flags));
    if (!file) {
      return;
    }
    if (stats.nlink > 1n) {
      this.#linked.set(inode, name);
    }
    await this.#begin(name, entry, Number(stats.size));
    await this.#sendContent(file, name, stats);
    await this.#to.write(RECORD.finish);
  }

  /** Up to the size that it had: a log goes on while it is read. Files of /proc say that they are empty. */
  async #sendContent(file: FileHandle, name: Buffer, { size, blocks }: BigIntStats): Promise<void> {
    if (Number(blocks) * BLOCK_BYTES < Number(size)) {
      await this.#sendSparse(file, name, Number(size));
      return;
    }
    const limit = size === 0n ? Number.POSITIVE_INFINITY : Number(size);
    for (let at = 0; at < limit && !this.#to.isOver; ) {
      // Each block is one of its own: it waits in the writer.
      const buffer = Buffer.allocUnsafe(Math.min(MAX_RECORD_BYTES, limit - at));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) {
        return;
      }
      at += bytesRead;
      await this.#data(buffer.subarray(0, bytesRead), name, Number(size));
    }
  }

  /** Node.js cannot ask where the holes are: they are found by their zeros. */
  async #sendSparse(file: FileHandle, name: Buffer, size: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(SPARSE_READ_BYTES);
    let hole = 0;
    const sendHole = async () => {
      hole > 0 && (await this.#to.writeHole(hole));
      hole = 0;
    };
    for (let at = 0; at < size && !this.#to.isOver; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - at), at);
      if (bytesRead === 0) {
        break;
      }
      at += bytesRead;
      for (let start = 0; start < bytesRead; start += HOLE_BYTES) {
        const piece = buffer.subarray(start, Math.min(start + HOLE_BYTES, bytesRead));
        if (piece.equals(ZEROS.subarray(0, piece.length))) {
          hole += piece.length;
        } else {
          await sendHole();
          await this.#data(Buffer.from(piece), name, size);
        }
      }
    }
    await sendHole();
  }

  async #data(block: Buffer, name: Buffer, size: number): Promise<void> {
    this.#bytes += block.length;
    await this.#to.write(RECORD.data, block);
    this.#tell(name, size);
  }

  async #begin(name: Buffer, entry: WireEntry, size: number): Promise<void> {
    this.#entries += 1;
    await this.#to.writeEntry({ ...entry, path: name.toString('base64') });
    this.#tell(name, size);
  }

  #facts({ stats }: Found): Omit<WireEntry, 'type'> {
    const mode = Number(stats.mode) & 0o7777;
    return { path: '', mode, ...this.#owner, mtimeNs: String(stats.mtimeNs) };
  }

  /** Undefined for what has gone meanwhile, or cannot be read. What was asked for itself is not left out. */
  async #unlessGone<T>({ name }: Found, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (isTopName(name)) {
        throw error;
      }
      this.#skip(name, (error as NodeJS.ErrnoException).code ?? 'EIO');
      return undefined;
    }
  }

  #skip(name: Buffer, errno: string): void {
    this.#skipped.push({ path: name.toString(), errno });
  }

  #tell(name: Buffer, size: number): void {
    this.#onProgress?.({ entries: this.#entries, bytes: this.#bytes, path: name.toString(), size });
  }
}

function isTopName(name: Buffer): boolean {
  return name.toString('latin1') === '.';
}

/** A small file; undefined for one that has changed its size meanwhile, or does not say it. */
async function contentOf(path: Buffer, size: number): Promise<Buffer | undefined> {
  await using file = await open(path, READ_ONLY);
  const buffer = Buffer.allocUnsafe(size + 1);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  return bytesRead === size && size > 0 ? buffer.subarray(0, size) : undefined;
}
