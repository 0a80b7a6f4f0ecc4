import { StringDecoder } from 'node:string_decoder';
import { printable } from '../printable.js';

/** A stream of a guest's bytes as a terminal may have it: what would drive that is spelt out, but for the end of a line. */
export class TerminalText {
  readonly #decoder = new StringDecoder('utf8');
  /** A carriage return of which it is not known yet whether a line feed follows. */
  #held = '';

  push(chunk: Buffer): string {
    const text = this.#held + this.#decoder.write(chunk);
    this.#held = text.endsWith('\r') ? '\r' : '';
    return escapeLines(text.slice(0, text.length - this.#held.length));
  }

  /** What is left when the stream has ended. */
  end(): string {
    return escapeLines(this.#held + this.#decoder.end());
  }
}

function escapeLines(text: string): string {
  return printable(text.replaceAll('\r\n', '\n'));
}
