import { lstatSync, mkdirSync, renameSync } from 'node:fs';
import { type FileHandle, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { syncDirectory, writeFileAtomic } from '../../util/atomic-file.js';
import { withBoundedFile } from '../../util/bounded-file.js';
import { vmmFolder } from '../vm-folder.js';
import { makePassingFolder } from './passing-folder.js';
import {
  type Journal,
  MAX_RECORD_BYTES,
  parseRecord,
  renderRecord,
  UnreadableRecord,
  type VmRecord,
} from './record.js';

const NAME = 'vm.json';
const TAKEN: readonly (string | undefined)[] = ['ENOTEMPTY', 'EEXIST', 'ENOTDIR'];

/** The record of a VM of this program, on disk before what it names is made. */
export class RecordFile {
  readonly #runtimeDir: string;
  readonly #inode: number;
  #record: VmRecord;
  #lastWrite: Promise<void> = Promise.resolve();

  private constructor(runtimeDir: string, inode: number, record: VmRecord) {
    this.#runtimeDir = runtimeDir;
    this.#inode = inode;
    this.#record = record;
  }

  /**
   * Makes the directory of a VM, with its record in it from the first moment.
   * @returns undefined when there is one of that name
   * @throws SmartVMError FILE_WRITE_FAILED
   */
  static async create(runtimeDir: string, record: VmRecord): Promise<RecordFile | undefined> {
    // Each of these calls takes microseconds, and to have another thread make it a hundred: a start waits for all of them.
    if (inodeOf(runtimeDir) !== undefined) {
      return undefined; // rename(2) refuses all but an empty directory, which is somebody's too
    }
    const folder = await makePassingFolder(runtimeDir);
    try {
      mkdirSync(vmmFolder(folder), { mode: 0o700 });
      await writeFileAtomic(join(folder, NAME), renderRecord(record));
      renameSync(folder, runtimeDir);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      if (TAKEN.includes((error as NodeJS.ErrnoException).code)) {
        return undefined;
      }
      throw error;
    }
    await syncDirectory(dirname(runtimeDir));
    return new RecordFile(runtimeDir, lstatSync(runtimeDir).ino, record);
  }

  get record(): VmRecord {
    return this.#record;
  }

  /** @throws SmartVMError FILE_WRITE_FAILED */
  async update(change: Partial<Pick<VmRecord, 'processes' | 'detached'>>): Promise<void> {
    await this.#write(() => ({ ...this.#record, ...change }));
  }

  /** Adds to the journal what is about to be made. @throws SmartVMError FILE_WRITE_FAILED */
  async journal(entries: Partial<Journal>): Promise<void> {
    await this.#write(({ journal }) => ({
      ...this.#record,
      journal: {
        ...journal,
        ...entries,
        taps: [...journal.taps, ...(entries.taps ?? [])],
        sockets: [...journal.sockets, ...(entries.sockets ?? [])],
      },
    }));
  }

  /** One write after the other: each has all that those before it said. */
  #write(change: (record: VmRecord) => VmRecord): Promise<void> {
    const write = this.#lastWrite.then(async () => {
      const record = change(this.#record);
      if (inodeOf(this.#runtimeDir) !== this.#inode) {
        throw new SmartVMError('FILE_WRITE_FAILED', `${this.#runtimeDir} is gone: VM ${record.id} has ended`);
      }
      await writeFileAtomic(join(this.#runtimeDir, NAME), renderRecord(record));
      this.#record = record;
    });
    this.#lastWrite = write.catch(() => undefined);
    return write;
  }
}

function inodeOf(path: string): number | undefined {
  try {
    return lstatSync(path).ino;
  } catch {
    return undefined;
  }
}

/** The record in a VM's directory. @throws UnreadableRecord */
export async function readRecord(runtimeDir: string, id = basename(runtimeDir)): Promise<VmRecord> {
  const limits = { maxBytes: MAX_RECORD_BYTES, followLink: false };
  // It is never written to, only replaced: it has the size that it has.
  const read = async (file: FileHandle, size: number) => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, 0);
    return buffer.toString('utf8', 0, bytesRead);
  };
  const text = await withBoundedFile(join(runtimeDir, NAME), limits, read).catch((cause: NodeJS.ErrnoException) => {
    throw new UnreadableRecord(cause.code === 'ENOENT' ? 'missing' : 'corrupt', cause.message, { cause });
  });
  return parseRecord(text, id);
}
