import type { Readable } from 'node:stream';
import { type Check, errorsOf, integer, object, oneOf, rule } from '../../config/validation/checks.js';
import { SmartVMError } from '../../errors.js';
import { parseSafeJson } from '../../util/safe-json.js';
import { bytesOf, pathOf } from './path.js';
import type { DirectoryEntry, FileChange, FileStatus, FileType, GuestPath } from './types.js';

const MAX_LINE_BYTES = 16 * 1024;
/** Of the names that one call keeps in memory. */
const MAX_NAME_BYTES = 64 * 1024 * 1024;
const NS_PER_MS = 1_000_000n;

/** As the agent tells of a file. Names are bytes, in base64. */
interface ToldFile {
  readonly name?: string;
  readonly type: FileType;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: string;
  readonly target?: string;
}

const id = integer(0, 2 ** 32 - 1);
/** Bytes of a path. */
export const base64 = rule((value) => value.length <= 5464 && /^[A-Za-z0-9+/]*={0,2}$/.test(value), 'must be base64');
/** What a guest tells of a file beside its name and type. */
export const attributes = {
  size: integer(0),
  mode: integer(0, 0o7777),
  uid: id,
  gid: id,
  mtimeNs: rule((value) => /^-?\d{1,19}$/.test(value), 'must be a number of nanoseconds'),
  target: base64,
};
const type = oneOf('file', 'directory', 'symlink', 'fifo', 'socket', 'block-device', 'character-device', 'unknown');
const told = object<ToldFile>({ name: base64, type, ...attributes }, ['type', 'size', 'mode', 'uid', 'gid', 'mtimeNs']);
const link = object<{ target: string }>({ target: base64 }, ['target']);
const change = object<{ kind: string; path: string; cookie: number }>(
  {
    kind: oneOf('ready', 'create', 'modify', 'attributes', 'remove', 'move-from', 'move-to', 'overflow'),
    path: base64,
    cookie: integer(0, 2 ** 32 - 1),
  },
  ['kind'],
);

/** What a guest has sent is not as it must be. */
export function refused(why: string): SmartVMError {
  return new SmartVMError('GUEST_FILE_REFUSED', `the guest's answer is refused: ${why}`);
}

/** The JSON of a guest, checked. @throws SmartVMError GUEST_FILE_REFUSED */
export function parsed<T>(text: string, check: Check): T {
  let value: unknown;
  try {
    value = parseSafeJson(text);
  } catch (cause) {
    throw refused((cause as Error).message);
  }
  const errors = errorsOf(check, value, 'answer');
  if (errors.length > 0) {
    throw refused(errors.slice(0, 4).join('; '));
  }
  return value as T;
}

export function statusOf(text: string): FileStatus {
  return status(parsed<ToldFile>(text, told));
}

/** Counts the bytes of names that are kept, of which a guest could send without end. */
export class NameBudget {
  #bytes = 0;

  /** @throws SmartVMError GUEST_FILE_LIMIT */
  take(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > MAX_NAME_BYTES) {
      throw new SmartVMError('GUEST_FILE_LIMIT', `names of the guest's files take more than ${MAX_NAME_BYTES} bytes`);
    }
  }
}

/** @throws SmartVMError GUEST_FILE_REFUSED, GUEST_FILE_LIMIT */
export async function entriesOf(stream: Readable, directory: GuestPath, maxEntries: number): Promise<DirectoryEntry[]> {
  const entries: DirectoryEntry[] = [];
  const names = new NameBudget();
  for await (const line of linesOf(stream)) {
    const entry = entryOf(line, directory);
    names.take(entry.path.length + (entry.target?.length ?? 0));
    if (entries.push(entry) > maxEntries) {
      throw new SmartVMError('GUEST_FILE_LIMIT', `the directory has more than ${maxEntries} entries`);
    }
  }
  return entries;
}

function entryOf(text: string, directory: GuestPath): DirectoryEntry {
  const file = parsed<ToldFile>(text, told);
  const name = Buffer.from(file.name ?? '', 'base64');
  if (!isName(name)) {
    throw refused('an entry of a directory has a name that none can have');
  }
  const base = bytesOf(directory);
  const separator = base.at(-1) === 0x2f ? '' : '/';
  return { ...status(file), name: name.toString(), path: pathOf(Buffer.concat([base, Buffer.from(separator), name])) };
}

/** Whether it is the name of something in a directory. */
export function isName(name: Buffer): boolean {
  const text = name.toString('latin1');
  return name.length > 0 && name.length <= 255 && !/[/\0]/.test(text) && text !== '.' && text !== '..';
}

export function targetOf(text: string): GuestPath {
  return pathOf(Buffer.from(parsed<{ target: string }>(text, link).target, 'base64'));
}

/** Undefined for the line that says that the guest watches. */
export function changeOf(text: string): FileChange | undefined {
  const { kind, path, cookie = 0 } = parsed<{ kind: string; path?: string; cookie?: number }>(text, change);
  if (kind === 'ready') {
    return undefined;
  }
  return {
    kind: kind as FileChange['kind'],
    path: path === undefined ? undefined : pathOf(Buffer.from(path, 'base64')),
    cookie,
  };
}

function status({ type, size, mode, uid, gid, mtimeNs, target }: ToldFile): FileStatus {
  return {
    type,
    size,
    mode,
    uid,
    gid,
    modifiedAt: new Date(Number(BigInt(mtimeNs) / NS_PER_MS)),
    target: target === undefined ? undefined : pathOf(Buffer.from(target, 'base64')),
  };
}

/** The lines of a stream, as they come. @throws SmartVMError GUEST_FILE_REFUSED for one that is too long */
export async function* linesOf(stream: Readable): AsyncGenerator<string, void, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    rest = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let start = 0;
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a, start)) {
      yield rest.toString('utf8', start, end);
      start = end + 1;
    }
    rest = rest.subarray(start);
    if (rest.length > MAX_LINE_BYTES) {
      throw refused('a line does not end');
    }
  }
}
