/** A block of lines on a terminal that takes the place of the one before. */
export class Screen {
  readonly #rows: () => number;
  #height = 0;

  /** @param rows how many lines the terminal has */
  constructor(rows: () => number) {
    this.#rows = rows;
  }

  /** What to write for it. Lines are cut at the right edge and at the bottom, not wrapped, or the way back would be unknown. */
  draw(lines: readonly string[]): string {
    const shown = lines.slice(0, Math.max(1, this.#rows() - 1));
    const back = this.#height > 0 ? `\u001b[${this.#height}A\r` : '';
    this.#height = shown.length;
    // DECAWM off and on around the lines; ED behind them (ECMA-48).
    return `${back}\u001b[?7l${shown.map((line) => `${line}\u001b[K\n`).join('')}\u001b[?7h\u001b[J`;
  }
}
