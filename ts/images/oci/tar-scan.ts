/** A member of a tar archive, by what its headers say. */
export interface TarEntry {
  readonly path: string;
  /** POSIX's type flag; `0` for a regular file, also where the archive has NUL. */
  readonly type: string;
  /** Of hard and symbolic links. */
  readonly linkPath: string;
  /** In seconds since 1970. */
  readonly mtime: number;
  /** GNU's form of a file with holes, which unpacks to more than there is. */
  readonly sparse: boolean;
}

const BLOCK = 512;
const MAX_EXTENDED_BYTES = 1 << 20;
/** Links, devices, folders and pipes have no content, whatever their size says. */
const WITHOUT_CONTENT = new Set(['1', '2', '3', '4', '5', '6']);

/** Reads the headers of a tar archive (ustar, pax, GNU) that comes in pieces. What is behind its end is not looked at. */
export class TarScanner {
  readonly #onEntry: (entry: TarEntry) => void;
  readonly #header = Buffer.alloc(BLOCK);
  #filled = 0;
  /** Bytes of content still to pass over, and of the padding behind it. */
  #skip = 0;
  #padding = 0;
  /** An extended header that is being gathered. */
  #extended: { type: string; data: Buffer[]; left: number } | undefined;
  /** What extended headers say of the next member, and how much they are. */
  #next: Record<string, string> = {};
  #extendedBytes = 0;
  #ended = false;

  constructor(onEntry: (entry: TarEntry) => void) {
    this.#onEntry = onEntry;
  }

  /** @throws Error where it is no tar archive */
  write(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.#ended; ) {
      const left = chunk.length - at;
      if (this.#extended && this.#extended.left > 0) {
        const taken = Math.min(left, this.#extended.left);
        this.#extended.data.push(chunk.subarray(at, at + taken));
        this.#extended.left -= taken;
        at += taken;
        this.#finishExtended();
      } else if (this.#skip > 0) {
        const taken = Math.min(left, this.#skip);
        this.#skip -= taken;
        at += taken;
      } else if (this.#padding > 0) {
        const taken = Math.min(left, this.#padding);
        this.#padding -= taken;
        at += taken;
      } else {
        const taken = Math.min(left, BLOCK - this.#filled);
        chunk.copy(this.#header, this.#filled, at, at + taken);
        this.#filled += taken;
        at += taken;
        if (this.#filled === BLOCK) {
          this.#filled = 0;
          this.#takeHeader();
        }
      }
    }
  }

  /** The padding behind the last member may be missing, as umoci leaves it out. @throws Error where the archive is cut short */
  end(): void {
    if (!this.#ended && (this.#filled > 0 || this.#skip > 0 || (this.#extended?.left ?? 0) > 0)) {
      throw new Error('it is cut short');
    }
  }

  #takeHeader(): void {
    const header = this.#header;
    if (header.every((byte) => byte === 0)) {
      this.#ended = true;
      return;
    }
    assertChecksum(header);
    const type = header[156] === 0 ? '0' : String.fromCharCode(header[156] as number);
    const size = numberAt(header, 124, 12);
    if ('xgLK'.includes(type)) {
      // There may be any number of them in front of one member, and small ones are no better than large ones.
      this.#extendedBytes += size + BLOCK;
      if (this.#extendedBytes > MAX_EXTENDED_BYTES) {
        throw new Error(`the extended headers of a member have ${this.#extendedBytes} bytes`);
      }
      this.#extended = { type, data: [], left: size };
      this.#padding = paddingOf(size);
      this.#finishExtended();
      return;
    }
    const said = this.#next;
    this.#next = {};
    this.#extendedBytes = 0;
    const real = said.size === undefined ? size : Number(said.size);
    if (!Number.isSafeInteger(real) || real < 0) {
      throw new Error('a member has no size');
    }
    this.#skip = WITHOUT_CONTENT.has(type) ? 0 : real;
    this.#padding = paddingOf(this.#skip);
    this.#onEntry({
      path: said.path ?? pathOf(header),
      type,
      linkPath: said.linkpath ?? textAt(header, 157, 100),
      mtime: Math.floor(said.mtime === undefined ? numberAt(header, 136, 12) : Number(said.mtime)),
      sparse: type === 'S' || Object.keys(said).some((key) => key.startsWith('GNU.sparse.')),
    });
  }

  #finishExtended(): void {
    const { type, data, left } = this.#extended ?? { left: 1 };
    if (left > 0 || !type || !data) {
      return;
    }
    this.#extended = undefined;
    const content = Buffer.concat(data);
    if (type === 'x') {
      Object.assign(this.#next, paxRecords(content));
    } else if (type !== 'g') {
      this.#next[type === 'L' ? 'path' : 'linkpath'] = textAt(content, 0, content.length);
    }
  }
}

function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function assertChecksum(header: Buffer): void {
  const field = header.subarray(148, 156).reduce((sum, byte) => sum + byte, 0);
  const sum = header.reduce((total, byte) => total + byte, 0) - field + 8 * 0x20;
  if (numberAt(header, 148, 8) !== sum) {
    throw new Error('it is no tar archive');
  }
}

/** Octal digits, or GNU's base 256 where the first bit is set. */
function numberAt(header: Buffer, start: number, length: number): number {
  const field = header.subarray(start, start + length);
  if ((field[0] as number) & 0x80) {
    const negative = ((field[0] as number) & 0x40) !== 0;
    const value = field.subarray(1).reduce((sum, byte) => sum * 256 + byte, (field[0] as number) & 0x3f);
    return negative ? -1 : value;
  }
  const text = field
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
    .trim();
  if (!/^[0-7]*$/.test(text)) {
    throw new Error('it is no tar archive');
  }
  return text === '' ? 0 : Number.parseInt(text, 8);
}

function textAt(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? field.length : end);
}

function pathOf(header: Buffer): string {
  const name = textAt(header, 0, 100);
  const prefix = textAt(header, 257, 6) === 'ustar' ? textAt(header, 345, 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** `<length> <key>=<value>\n`, one behind the other. */
function paxRecords(content: Buffer): Record<string, string> {
  const records: Record<string, string> = {};
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const length = Number(content.toString('latin1', at, space));
    const equals = content.indexOf(0x3d, space);
    if (
      space < 0 ||
      !Number.isSafeInteger(length) ||
      equals < 0 ||
      equals >= at + length ||
      at + length > content.length
    ) {
      throw new Error('an extended header is damaged');
    }
    records[content.toString('utf8', space + 1, equals)] = content.toString('utf8', equals + 1, at + length - 1);
    at += length;
  }
  return records;
}
