/** A line without an end is cut here, not collected. */
const MAX_LINE_LENGTH = 1024 * 1024;

/** Makes lines of the pieces of a byte stream, whose characters may be split between two of them. */
export class LineSplitter {
  readonly #decoder = new TextDecoder();
  #partial = '';

  /** The lines that this piece completes. */
  push(chunk: Uint8Array): string[] {
    const pieces = this.#decoder.decode(chunk, { stream: true }).split('\n');
    pieces[0] = this.#partial + pieces[0];
    this.#partial = (pieces.pop() ?? '').slice(0, MAX_LINE_LENGTH);
    return pieces;
  }

  /** What stands after the last line break, when the stream has ended: one line, or none. */
  end(): string[] {
    const rest = this.#partial;
    this.#partial = '';
    return rest === '' ? [] : [rest];
  }
}
