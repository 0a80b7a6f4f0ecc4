import { stripVTControlCharacters } from 'node:util';
import { delay } from '../../util/deadline.js';
import { LineSplitter } from '../../util/line-splitter.js';

const MAX_LINE_LENGTH = 16 * 1024;
/** For the news that the VM has ended, which is why its console has. */
const NEWS_MS = 1_000;

interface Listener {
  readonly line: (line: string) => void;
  readonly failed: (error: unknown) => void;
}

/** The lines of a VM's console since its start, read once for all who listen. */
export class ConsoleLines {
  readonly #open: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly #listeners = new Set<Listener>();
  #isOpen = false;

  constructor(open: (signal: AbortSignal) => AsyncIterable<Uint8Array>) {
    this.#open = open;
  }

  /**
   * Waits until `isEnough` says so of a line. All who listen begin in one turn.
   * @param whole aborts when nobody listens any more
   * @returns false when the signal has aborted first
   */
  async until(isEnough: (line: string) => boolean, signal: AbortSignal, whole: AbortSignal): Promise<boolean> {
    let listener: Listener | undefined;
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise((resolve, reject) => {
        listener = { line: (line) => isEnough(line) && resolve(true), failed: reject };
        onAbort = () => resolve(false);
        if (signal.aborted) {
          onAbort();
          return;
        }
        signal.addEventListener('abort', onAbort, { once: true });
        this.#listeners.add(listener);
        void this.#read(whole);
      });
    } finally {
      if (listener && onAbort) {
        signal.removeEventListener('abort', onAbort);
        this.#listeners.delete(listener);
      }
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    if (this.#isOpen) {
      return;
    }
    this.#isOpen = true;
    const splitter = new LineSplitter();
    try {
      for await (const chunk of this.#open(signal)) {
        this.#tell(splitter.push(chunk));
      }
      this.#tell(splitter.end());
    } catch (error) {
      await delay(NEWS_MS, signal);
      for (const { failed } of [...this.#listeners]) {
        failed(error);
      }
    }
  }

  #tell(lines: readonly string[]): void {
    for (const line of lines) {
      const plain = stripVTControlCharacters(line.slice(0, MAX_LINE_LENGTH)).replace(/\r+$/, '');
      for (const listener of [...this.#listeners]) {
        listener.line(plain);
      }
    }
  }
}
