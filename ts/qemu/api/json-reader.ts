import { isUtf8 } from 'node:buffer';

const MAX_DEPTH = 128;
const MAX_NUMBER_BYTES = 4096;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** A refusal of a JSON text. Its position is filled in by the reader, or by the structure around a refused value. */
export class JsonError extends Error {
  override readonly name = 'JsonError';
  positioned = false;

  at(line: number, column: number): this {
    if (!this.positioned) {
      this.message += ` at line ${line} column ${column}`;
      this.positioned = true;
    }
    return this;
  }
}

/**
 * Reads JSON left to right and reports what is wrong in serde_json's words and at serde_json's position, which is what
 * Firecracker answers. `JSON.parse` would neither tell an unknown field from a syntax error behind it nor count columns.
 */
export class JsonReader {
  readonly #bytes: Buffer;
  #index = 0;
  #depth = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The next character that is not white space, unread; empty at the end. */
  peek(): string {
    for (;;) {
      const byte = this.#bytes[this.#index];
      if (byte === undefined) {
        return '';
      }
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
        return String.fromCharCode(byte);
      }
      this.#index++;
    }
  }

  skip(): void {
    this.#index++;
  }

  /** An error at what was read last. */
  error(message: string): JsonError {
    return this.position(new JsonError(message));
  }

  /** An error at the character to be read next. */
  peekError(message: string): JsonError {
    return this.#position(new JsonError(message), Math.min(this.#bytes.length, this.#index + 1));
  }

  position(error: JsonError): JsonError {
    return this.#position(error, this.#index);
  }

  /** Opens an array or object; serde_json's limit on nesting keeps a hostile body from exhausting the stack. */
  open(): void {
    if (++this.#depth >= MAX_DEPTH) {
      throw this.peekError('recursion limit exceeded');
    }
    this.skip();
  }

  close(): void {
    this.#depth--;
    this.skip();
  }

  /** Moves to the next element. False at the end of the array, which is then read. */
  nextElement(first: boolean): boolean {
    return this.#next(first, ']', 'list', 'expected `,` or `]`');
  }

  /** Reads the next key. Undefined at the end of the object, whose brace stays unread. */
  nextKey(first: boolean): string | undefined {
    if (!this.#next(first, '}', 'object', 'expected `,` or `}`')) {
      return undefined;
    }
    if (this.peek() !== '"') {
      throw this.peekError('key must be a string');
    }
    return this.string();
  }

  colon(): void {
    const next = this.peek();
    if (next !== ':') {
      throw this.peekError(next === '' ? 'EOF while parsing an object' : 'expected `:`');
    }
    this.skip();
  }

  /** Reads a string whose opening quote is next. */
  string(): string {
    this.skip();
    let text = '';
    for (;;) {
      const start = this.#index;
      while (isPlain(this.#bytes[this.#index])) {
        this.#index++;
      }
      const piece = this.#bytes.subarray(start, this.#index);
      const byte = this.#bytes[this.#index++];
      if (byte === undefined) {
        this.#index--;
        throw this.error('EOF while parsing a string');
      }
      if (!isUtf8(piece)) {
        throw this.error('invalid unicode code point');
      }
      text += piece.toString();
      if (byte === QUOTE) {
        return text;
      }
      if (byte !== BACKSLASH) {
        throw this.error('control character (\\u0000-\\u001F) found while parsing a string');
      }
      text += this.#escape();
    }
  }

  /** Reads a number as it is written. */
  number(): string {
    const rest = this.#rest(MAX_NUMBER_BYTES);
    const text = /^-?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][+-]?[0-9]*)?/.exec(rest)?.[0] ?? '';
    this.#index += text.length;
    if (
      !/^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/.test(text) ||
      /[0-9]/.test(this.#charAt(this.#index))
    ) {
      throw this.peekError(this.#charAt(this.#index) === '' ? 'EOF while parsing a value' : 'invalid number');
    }
    if (!Number.isFinite(Number(text))) {
      throw this.error('number out of range');
    }
    return text;
  }

  /** Reads `null`, `true` or `false`. */
  keyword(word: string): void {
    for (const letter of word) {
      const next = this.#charAt(this.#index);
      if (next !== letter) {
        this.#index = Math.min(this.#bytes.length, this.#index + 1);
        throw this.error(next === '' ? 'EOF while parsing a value' : 'expected ident');
      }
      this.#index++;
    }
  }

  /** Only white space may follow. */
  end(): void {
    if (this.peek() !== '') {
      throw this.peekError('trailing characters');
    }
  }

  #next(first: boolean, end: string, what: string, expected: string): boolean {
    let next = this.peek();
    if (next === end) {
      return false;
    }
    if (first) {
      if (next === '') {
        throw this.peekError(`EOF while parsing ${what === 'list' ? 'a list' : 'an object'}`);
      }
      return true;
    }
    if (next !== ',') {
      throw this.peekError(next === '' ? `EOF while parsing ${what === 'list' ? 'a list' : 'an object'}` : expected);
    }
    this.skip();
    next = this.peek();
    if (next === end) {
      throw this.peekError('trailing comma');
    }
    if (next === '') {
      throw this.peekError('EOF while parsing a value');
    }
    return true;
  }

  #escape(): string {
    const letter = this.#charAt(this.#index++);
    const simple = ESCAPES[letter];
    if (simple !== undefined) {
      return simple;
    }
    if (letter !== 'u') {
      throw this.error(letter === '' ? 'EOF while parsing a string' : 'invalid escape');
    }
    const high = this.#hex();
    if (high < 0xd800 || high > 0xdfff) {
      return String.fromCharCode(high);
    }
    if (high >= 0xdc00) {
      throw this.error('lone leading surrogate in hex escape');
    }
    for (const expected of '\\u') {
      if (this.#charAt(this.#index++) !== expected) {
        throw this.error('unexpected end of hex escape');
      }
    }
    const low = this.#hex();
    if (low < 0xdc00 || low > 0xdfff) {
      throw this.error('lone leading surrogate in hex escape');
    }
    return String.fromCharCode(high, low);
  }

  #hex(): number {
    const digits = this.#rest(4);
    this.#index += digits.length;
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) {
      throw this.error(digits.length < 4 ? 'EOF while parsing a string' : 'invalid escape');
    }
    return Number.parseInt(digits, 16);
  }

  #charAt(index: number): string {
    const byte = this.#bytes[index];
    return byte === undefined ? '' : String.fromCharCode(byte);
  }

  #rest(length: number): string {
    return this.#bytes.toString('latin1', this.#index, this.#index + length);
  }

  #position(error: JsonError, index: number): JsonError {
    const before = this.#bytes.subarray(0, index);
    const lineStart = before.lastIndexOf(0x0a) + 1;
    const line = before.reduce((lines, byte) => lines + (byte === 0x0a ? 1 : 0), 1);
    return error.at(line, index - lineStart);
  }
}

function isPlain(byte: number | undefined): boolean {
  return byte !== undefined && byte !== QUOTE && byte !== BACKSLASH && byte >= 0x20;
}
