import { mkdir as mkdirOnHost } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { SmartVMError } from '../../errors.js';
import type { Guest } from '../types.js';
import { entriesOf, linesOf, refused, statusOf, targetOf } from './answers.js';
import { FileCall, isErrnoOf } from './call.js';
import { endContent, sendContent } from './content.js';
import { Download } from './download.js';
import { assertMode, assertOwner, hostFailure } from './host-file.js';
import { pathField, targetField } from './path.js';
import { telling } from './progress.js';
import { RecordReader, RecordWriter } from './records.js';
import type {
  DirectoryEntry,
  DownloadOptions,
  FileCallOptions,
  FileContent,
  FileStatus,
  GuestPath,
  Owner,
  ReadFileOptions,
  TransferResult,
  UploadOptions,
  WatchOptions,
  WriteFileOptions,
} from './types.js';
import { Upload } from './upload.js';
import { FileWatcher } from './watcher.js';

const DEFAULT_READ_BYTES = 100_000_000;
const DEFAULT_DOWNLOAD_BYTES = 64 * 1024 ** 3;
const DEFAULT_ENTRIES = 1_000_000;

/**
 * The files of a guest, with the rights of its root. Paths are absolute; those that are not UTF-8 are bytes. What the guest refuses is
 * GUEST_FILE_FAILED with `details.errno`; every method rejects with that, and with GUEST_FILE_REFUSED, CANCELED, INVALID_STATE,
 * AGENT_MISSING, AGENT_UNREACHABLE, AGENT_TOO_OLD or VMM_EXITED.
 */
export class GuestFiles {
  readonly #guest: () => Promise<Guest>;

  constructor(guest: () => Promise<Guest>) {
    this.#guest = guest;
  }

  /** All of a file, or a part of it. @throws SmartVMError GUEST_FILE_LIMIT when that is more than `maxBytes` */
  async read(path: GuestPath, options: ReadFileOptions = {}): Promise<Buffer> {
    const { maxBytes = DEFAULT_READ_BYTES } = options;
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of this.#chunks(path, options)) {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw new SmartVMError('GUEST_FILE_LIMIT', `the file has more than ${maxBytes} bytes`, { details: { path } });
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks, bytes);
  }

  /** As {@link read}, decoded. Default `utf8`. */
  async readText(path: GuestPath, options: ReadFileOptions & { encoding?: BufferEncoding } = {}): Promise<string> {
    return (await this.read(path, options)).toString(options.encoding);
  }

  /** The bytes as they come, no faster than they are read. It fails as {@link read} does; destroying it ends the reading in the guest. */
  readStream(path: GuestPath, options: Omit<ReadFileOptions, 'maxBytes'> = {}): Readable {
    return Readable.from(this.#chunks(path, options), { objectMode: false });
  }

  async *#chunks(path: GuestPath, options: ReadFileOptions): AsyncGenerator<Buffer, void, undefined> {
    const { offset, length, signal } = options;
    assertCount('offset', offset);
    assertCount('length', length);
    using call = await FileCall.open(this.#guest, 'read', path, { offset, length }, signal);
    try {
      yield* call.stdout as AsyncIterable<Buffer>;
    } catch {
      // What broke it off, `done` has.
    }
    await call.done;
  }

  /**
   * Writes a file: text, bytes, or a stream. A link is followed. With a stream that fails, the file is left as it was; when the writing fails,
   * the stream is destroyed.
   * @throws SmartVMError HOST_FILE_FAILED when the stream fails
   */
  async write(path: GuestPath, content: FileContent, options: WriteFileOptions = {}): Promise<void> {
    const { mode, owner, parents, append, atomic = true, signal } = options;
    assertMode(mode);
    assertOwner(owner);
    const fields = { follow: true, parents, append, inPlace: !atomic };
    const entry = { path: Buffer.from('.').toString('base64'), type: 'file', mode, ...owner } as const;
    try {
      using call = await FileCall.open(this.#guest, 'put', path, fields, signal);
      call.stdout.resume();
      await sent(call, (to) => sendContent(to, entry, content, call.done));
    } catch (error) {
      endContent(content);
      throw error;
    }
  }

  /**
   * What there is in a directory, without `.` and `..`, in no order.
   * @throws SmartVMError GUEST_FILE_LIMIT for more than `maxEntries` (1,000,000), or 64 MiB of paths and texts of links
   */
  async list(path: GuestPath, options: FileCallOptions & { maxEntries?: number } = {}): Promise<DirectoryEntry[]> {
    const { signal, maxEntries = DEFAULT_ENTRIES } = options;
    using call = await FileCall.open(this.#guest, 'list', path, {}, signal);
    return await taken(call, () => entriesOf(call.stdout, path, maxEntries));
  }

  /** A file's facts; those of a link itself, unless `follow` is true. */
  async stat(path: GuestPath, { follow, signal }: FileCallOptions & { follow?: boolean } = {}): Promise<FileStatus> {
    return statusOf(await this.#ask('stat', path, { follow }, signal));
  }

  /** Whether there is something of that name; a link counts, wherever it leads. */
  async exists(path: GuestPath, options: FileCallOptions = {}): Promise<boolean> {
    try {
      await this.stat(path, options);
      return true;
    } catch (error) {
      if (isErrnoOf(error, 'ENOENT') || isErrnoOf(error, 'ENOTDIR')) {
        return false;
      }
      throw error;
    }
  }

  /** Makes a directory. With `recursive`, those above it too, and one that is there is no error. */
  async mkdir(
    path: GuestPath,
    { recursive, mode, signal }: FileCallOptions & { recursive?: boolean; mode?: number } = {},
  ): Promise<void> {
    assertMode(mode);
    await this.#tell('mkdir', path, { recursive, mode }, signal);
  }

  /** As rename(2): what is at the new name is replaced, and both are in one file system. */
  async rename(from: GuestPath, to: GuestPath, { signal }: FileCallOptions = {}): Promise<void> {
    await this.#tell('rename', from, { to: pathField(to) }, signal);
  }

  /** Removes a file, a link or an empty directory; with `recursive`, all below it too. With `force`, what is not there is no error. */
  async remove(
    path: GuestPath,
    { recursive, force, signal }: FileCallOptions & { recursive?: boolean; force?: boolean } = {},
  ): Promise<void> {
    try {
      await this.#tell('remove', path, { recursive }, signal);
    } catch (error) {
      if (!(force && isErrnoOf(error, 'ENOENT'))) {
        throw error;
      }
    }
  }

  /** Sets permission bits, 0 to 0o7777; with `recursive`, those of all below too, but not of what links lead to. */
  async chmod(
    path: GuestPath,
    mode: number,
    { recursive, signal }: FileCallOptions & { recursive?: boolean } = {},
  ): Promise<void> {
    assertMode(mode);
    await this.#tell('chmod', path, { mode, recursive }, signal);
  }

  /** Sets the owner, of a link that of the link itself; with `recursive`, that of all below too. */
  async chown(
    path: GuestPath,
    owner: Partial<Owner>,
    { recursive, signal }: FileCallOptions & { recursive?: boolean } = {},
  ): Promise<void> {
    assertOwner(owner);
    await this.#tell('chown', path, { uid: owner.uid, gid: owner.gid, recursive }, signal);
  }

  /** Makes a symbolic link at `path` with the text `target`, which need not lead anywhere. */
  async symlink(target: GuestPath, path: GuestPath, { signal }: FileCallOptions = {}): Promise<void> {
    await this.#tell('symlink', path, { to: targetField(target) }, signal);
  }

  /** The text of a symbolic link. */
  async readlink(path: GuestPath, { signal }: FileCallOptions = {}): Promise<GuestPath> {
    return targetOf(await this.#ask('readlink', path, {}, signal));
  }

  /** Tells of changes from the moment on that it settles. */
  async watch(path: GuestPath, { recursive, signal }: WatchOptions = {}): Promise<FileWatcher> {
    return await FileWatcher.open(await FileCall.open(this.#guest, 'watch', path, { recursive }, signal));
  }

  /**
   * Copies a file or tree of the host to exactly `to`, in one stream: content, modes, times, links and holes. What is there stays, unless it
   * is in the way. A link given as `from` is followed.
   * @throws SmartVMError HOST_FILE_FAILED
   */
  async upload(from: string, to: GuestPath, options: UploadOptions = {}): Promise<TransferResult> {
    const { owner = { uid: 0, gid: 0 }, parents, onProgress, signal } = options;
    assertOwner(owner);
    using call = await FileCall.open(this.#guest, 'put', to, { parents }, signal);
    call.stdout.resume();
    const end = () => call[Symbol.dispose]();
    return await telling(onProgress, end, (tell) =>
      sent(call, (writer) => new Upload(writer, owner, tell).send(resolve(from))),
    );
  }

  /**
   * Copies a file or tree of the guest to exactly `to`, as {@link upload} does; what is made is the user's own, without setuid and setgid.
   * @throws SmartVMError GUEST_FILE_LIMIT, HOST_FILE_FAILED
   */
  async download(from: GuestPath, to: string, options: DownloadOptions = {}): Promise<TransferResult> {
    const { parents, onProgress, signal } = options;
    const { maxBytes = DEFAULT_DOWNLOAD_BYTES, maxEntries = DEFAULT_ENTRIES } = options;
    const target = resolve(to);
    if (parents) {
      await mkdirOnHost(dirname(target), { recursive: true }).catch((error) => {
        throw hostFailure(error, target);
      });
    }
    using call = await FileCall.open(this.#guest, 'get', from, {}, signal);
    const end = () => call[Symbol.dispose]();
    const reader = new RecordReader(call.stdout);
    const result = await telling(onProgress, end, (tell) =>
      taken(call, () => new Download(target, reader, { maxBytes, maxEntries }, tell).take()),
    );
    if (!result) {
      throw refused('the stream ended before its end');
    }
    return result;
  }

  async #ask(op: string, path: GuestPath, fields: object, signal?: AbortSignal): Promise<string> {
    using call = await FileCall.open(this.#guest, op, path, fields, signal);
    return await taken(call, async () => {
      let answer = '';
      for await (const line of linesOf(call.stdout)) {
        answer ||= line;
      }
      return answer;
    });
  }

  async #tell(op: string, path: GuestPath, fields: object, signal?: AbortSignal): Promise<void> {
    using call = await FileCall.open(this.#guest, op, path, fields, signal);
    call.stdout.resume();
    await call.done;
  }
}

/** What is read of an operation, to the end of its output, when that has succeeded. What breaks off for the operation's failure has that as its reason. */
async function taken<T>(call: FileCall, read: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await read();
  } catch (error) {
    if (error instanceof SmartVMError) {
      throw error;
    }
    await call.done;
    throw error;
  }
  await call.done;
  return result;
}

/** What is sent to an operation. One that fails in the guest takes no more. */
async function sent<T>(call: FileCall, send: (to: RecordWriter) => Promise<T>): Promise<T> {
  const result = await send(new RecordWriter(call.stdin, call.done));
  await call.done;
  return result;
}

function assertCount(what: string, value: number | undefined): void {
  if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0)) {
    throw new SmartVMError('INVALID_OPTION', `${what} is a whole number of at least 0, not ${value}`);
  }
}
