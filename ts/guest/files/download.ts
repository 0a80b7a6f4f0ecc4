import { chmod, link, lstat, lutimes, mkdir, stat, symlink, utimes } from 'node:fs/promises';
import { object, oneOf, rule } from '../../config/validation/checks.js';
import { SmartVMError } from '../../errors.js';
import { attributes, base64, NameBudget, parsed, refused } from './answers.js';
import { isErrno } from './call.js';
import { hostFailure } from './host-file.js';
import { HOST_MODE, IncomingFile, replace, timesOf } from './incoming-file.js';
import { LoopTurn } from './loop-turn.js';
import { bytesOf } from './path.js';
import { RECORD, type RecordReader, type WireEntry } from './records.js';
import type { SkippedEntry, TransferProgress, TransferResult } from './types.js';

const FINISHED_AT_ONCE = 16;
const SLASH = Buffer.from('/');

const wireEntry = object<WireEntry>(
  { path: base64, type: oneOf('file', 'directory', 'symlink', 'hardlink'), ...attributes },
  ['path', 'type'],
);
const skippedEntry = object<SkippedEntry>({ path: base64, errno: rule(isErrno, 'must be the name of an errno') }, [
  'path',
  'errno',
]);

export interface DownloadLimits {
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/**
 * Takes a file or tree, whatever a guest sends. Nothing is made outside of the target: each name lies in a directory that this has made or
 * found itself, and no link is followed but one that the target itself is.
 */
export class Download {
  readonly #root: Buffer;
  readonly #from: RecordReader;
  readonly #limits: DownloadLimits;
  readonly #onProgress: ((progress: TransferProgress) => void) | undefined;
  /** By name. */
  readonly #directories = new Set<string>();
  /** Their times and modes are set at the end: what is made in them changes the one, and the other may forbid it. */
  readonly #made: { readonly name: string; readonly entry: Pick<WireEntry, 'mode' | 'mtimeNs'> }[] = [];
  readonly #skipped: SkippedEntry[] = [];
  readonly #finishing = new Set<Promise<void>>();
  readonly #turn = new LoopTurn();
  /** Names of directories, and of what was left out. */
  readonly #names = new NameBudget();
  #failure: SmartVMError | undefined;
  #entries = 0;
  #bytes = 0;
  #hasTop = false;

  constructor(
    root: string,
    from: RecordReader,
    limits: DownloadLimits,
    onProgress?: (progress: TransferProgress) => void,
  ) {
    this.#root = bytesOf(root);
    this.#from = from;
    this.#limits = limits;
    this.#onProgress = onProgress;
  }

  /** Undefined when the stream ended before its end. @throws SmartVMError GUEST_FILE_REFUSED, GUEST_FILE_LIMIT, HOST_FILE_FAILED */
  async take(): Promise<TransferResult | undefined> {
    try {
      return await this.#takeAll();
    } finally {
      await Promise.all(this.#finishing);
    }
  }

  async #takeAll(): Promise<TransferResult | undefined> {
    for (;;) {
      const record = await this.#from.next();
      if (!record) {
        return undefined;
      }
      const { kind, payload } = record;
      if (kind === RECORD.end) {
        await this.#settled();
        await this.#finishDirectories();
        await this.#from.end();
        return { entries: this.#entries, bytes: this.#bytes, skipped: this.#skipped };
      }
      this.#count();
      if (kind === RECORD.skipped) {
        this.#skip(payload);
      } else if (kind !== RECORD.entry) {
        throw refused('a part of a file outside of one');
      } else if (!(await this.#takeEntry(parsed<WireEntry>(payload.toString(), wireEntry)))) {
        return undefined;
      }
    }
  }

  #count(): void {
    this.#entries += 1;
    if (this.#entries > this.#limits.maxEntries) {
      throw new SmartVMError('GUEST_FILE_LIMIT', `the guest has more than ${this.#limits.maxEntries} files`);
    }
  }

  async #takeEntry(entry: WireEntry): Promise<boolean> {
    const name = Buffer.from(entry.path, 'base64');
    const path = this.#pathOf(name);
    this.#checkTop(name, entry);
    this.#tell(name, entry.size ?? 0);
    try {
      switch (entry.type) {
        case 'directory':
          await this.#takeDirectory(name, path, entry);
          return true;
        case 'symlink':
          await this.#takeLink(path, entry);
          return true;
        case 'hardlink': {
          const target = this.#pathOf(Buffer.from(entry.target ?? '', 'base64'));
          await this.#settled();
          await replace(path, (temporary) => link(target, temporary));
          return true;
        }
        case 'file':
          return await this.#takeFile(name, path, entry);
      }
    } catch (error) {
      throw hostFailure(error, path);
    }
  }

  /** The top comes once, and as no link: what is made after it would go wherever that leads. */
  #checkTop(name: Buffer, { type }: WireEntry): void {
    if (name.toString('latin1') !== '.') {
      return;
    }
    if (this.#hasTop || type === 'symlink' || type === 'hardlink') {
      throw refused(this.#hasTop ? 'a second top of the tree' : 'a link for the top of the tree');
    }
    this.#hasTop = true;
  }

  /** Where in the host something of the tree is. @throws SmartVMError GUEST_FILE_REFUSED for what lies outside */
  #pathOf(name: Buffer): Buffer {
    const text = name.toString('latin1');
    if (text === '.') {
      return this.#root;
    }
    const parts = text.split('/');
    const parent = parts.length > 1 ? text.slice(0, text.lastIndexOf('/')) : '.';
    if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) {
      throw refused('a name that leads out of the target');
    }
    if (!this.#directories.has(parent)) {
      throw refused('a name in a directory that was not sent');
    }
    return Buffer.concat([this.#root, SLASH, name]);
  }

  async #takeDirectory(name: Buffer, path: Buffer, entry: WireEntry): Promise<void> {
    const text = name.toString('latin1');
    this.#names.take(text.length);
    try {
      await mkdir(path, { mode: 0o700 });
      this.#made.push({ name: text, entry: { mode: entry.mode, mtimeNs: entry.mtimeNs } });
    } catch (error) {
      // One that is there stays as it is. The target itself may be a link of the host's user; what is in it may not.
      const there = text === '.' ? await stat(path) : await lstat(path);
      if (!there.isDirectory()) {
        throw error;
      }
    }
    this.#directories.add(text);
  }

  async #takeLink(path: Buffer, { target = '', mtimeNs }: WireEntry): Promise<void> {
    await replace(path, async (temporary) => {
      await symlink(Buffer.from(target, 'base64'), temporary);
      await lutimes(temporary, ...timesOf(mtimeNs));
    });
  }

  /** False when the stream ended in the middle. */
  async #takeFile(name: Buffer, path: Buffer, entry: WireEntry): Promise<boolean> {
    const file = new IncomingFile(path, entry);
    try {
      for (;;) {
        const record = await this.#from.next();
        if (!record) {
          await file.abandon();
          return false;
        }
        const { kind, payload } = record;
        if (kind === RECORD.finish) {
          break;
        } else if (kind === RECORD.skipped) {
          // It could not be read to its end.
          await file.abandon();
          this.#skip(payload);
          return true;
        } else if (kind === RECORD.data && payload.length > 0) {
          this.#countBytes(payload.length);
          await file.write(payload);
          this.#tell(name, entry.size ?? 0);
        } else if (kind === RECORD.hole && payload.length === 8) {
          file.skip(lengthOf(payload, file.length));
        } else {
          throw refused('a part of a file that is none');
        }
      }
    } catch (error) {
      await file.abandon();
      throw error;
    }
    if (file.isSmall) {
      file.finishNow();
      await this.#turn.pass();
    } else {
      await this.#finish(file, path);
    }
    return true;
  }

  /** Larger files are finished some at a time, while the next ones come. The first failure of one ends the download. */
  async #finish(file: IncomingFile, path: Buffer): Promise<void> {
    const finishing = file.finish().then(
      () => {
        this.#finishing.delete(finishing);
      },
      (error) => {
        this.#failure ??= hostFailure(error, path);
        this.#finishing.delete(finishing);
      },
    );
    this.#finishing.add(finishing);
    if (this.#finishing.size >= FINISHED_AT_ONCE) {
      await Promise.race(this.#finishing);
    }
    if (this.#failure) {
      throw this.#failure;
    }
  }

  /** Waits until all that was taken is in its place. */
  async #settled(): Promise<void> {
    await Promise.all(this.#finishing);
    if (this.#failure) {
      throw this.#failure;
    }
  }

  #skip(payload: Buffer): void {
    const { path, errno } = parsed<SkippedEntry>(payload.toString(), skippedEntry);
    this.#names.take(path.length);
    this.#skipped.push({ path: Buffer.from(path, 'base64').toString(), errno });
  }

  #countBytes(count: number): void {
    this.#bytes += count;
    if (this.#bytes > this.#limits.maxBytes) {
      throw new SmartVMError('GUEST_FILE_LIMIT', `the guest has more than ${this.#limits.maxBytes} bytes`);
    }
  }

  async #finishDirectories(): Promise<void> {
    for (const { name, entry } of this.#made.reverse()) {
      const path = this.#pathOf(Buffer.from(name, 'latin1'));
      try {
        entry.mode === undefined || (await chmod(path, entry.mode & HOST_MODE));
        await utimes(path, ...timesOf(entry.mtimeNs));
      } catch (error) {
        throw hostFailure(error, path);
      }
    }
  }

  #tell(name: Buffer, size: number): void {
    this.#onProgress?.({ entries: this.#entries, bytes: this.#bytes, path: name.toString(), size });
  }
}

/** A hole of no bytes, or beyond what a number can count, is none. */
function lengthOf(payload: Buffer, at: number): number {
  const length = Number(payload.readBigUInt64BE());
  if (length === 0 || at + length > Number.MAX_SAFE_INTEGER) {
    throw refused('a hole that none can be');
  }
  return length;
}
