import type { ImageProgress } from '../../images/image-manager.js';
import { printable, printableLine } from '../printable.js';
import { bytesInWords } from '../vms/words.js';

const BAR = 24;
const REDRAW_MS = 100;
const CLEAR = '\r\u001b[K';

interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Tells of work as it goes on: a line that moves where it is a terminal, else a line for each step. */
export class ProgressPrinter implements Disposable {
  readonly #output: Output;
  #last = '';
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(output: Output = process.stderr) {
    this.#output = output;
  }

  readonly tell = (progress: ImageProgress): void => {
    if (!this.#output.isTTY) {
      this.#tellLine(progress);
      return;
    }
    const now = performance.now();
    if (progress.message === this.#last && now - this.#drawnAt < REDRAW_MS) {
      return; // bytes come faster than anybody reads
    }
    this.#last = progress.message;
    this.#drawnAt = now;
    this.#output.write(`${CLEAR}${lineOf(progress, this.#output.columns || 80)}`);
  };

  /** Takes the moving line away. */
  [Symbol.dispose](): void {
    if (this.#output.isTTY && this.#last !== '') {
      this.#output.write(CLEAR);
      this.#last = '';
    }
  }

  #tellLine({ message }: ImageProgress): void {
    if (message !== this.#last) {
      this.#last = message;
      this.#output.write(`${printable(message)}\n`);
    }
  }
}

/** The bar first, since it is the message that is cut where the line is short. */
export function lineOf({ message, receivedBytes, totalBytes }: ImageProgress, columns: number): string {
  const text = [...barOf(receivedBytes, totalBytes), printableLine(message)].join(' ');
  return text.length < columns ? text : `${text.slice(0, columns - 2)}…`;
}

function barOf(received: number | undefined, total: number | undefined): string[] {
  if (received === undefined) {
    return [];
  }
  if (!total) {
    return [bytesInWords(received)];
  }
  const share = Math.min(1, received / total);
  const full = Math.floor(share * BAR);
  const bar = `[${'='.repeat(full)}${full < BAR ? '>' : ''}${' '.repeat(Math.max(0, BAR - full - 1))}]`;
  const percent = `${Math.floor(share * 100)}%`.padStart(4);
  return [bar, percent, `${bytesInWords(received)}/${bytesInWords(total)}`];
}
