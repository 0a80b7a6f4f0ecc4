import { LineSplitter } from '../util/line-splitter.js';

/** What is kept for readers that have yet to come or are slow: the newest of it. */
const MAX_KEPT_LENGTH = 1024 * 1024;

/**
 * Lines of a stream, kept within a bound. Whoever writes is never held up: a reader that does not keep up loses the oldest
 * lines, and each reader begins with what is kept.
 */
export class LineLog {
  readonly #lines: string[] = [];
  /** Number of the first line that is kept. */
  #first = 0;
  #length = 0;
  #ended = false;
  readonly #wakeUps = new Set<() => void>();
  readonly #splitter = new LineSplitter();

  push(chunk: Uint8Array): void {
    this.#add(this.#splitter.push(chunk));
  }

  /** Readers end when they have read what there is. */
  end(): void {
    this.#ended = true;
    this.#add(this.#splitter.end());
  }

  /** The lines that are kept, then each as it comes, until the end or the signal. */
  async *read(signal?: AbortSignal): AsyncGenerator<string, void, undefined> {
    let next = this.#first;
    while (!signal?.aborted) {
      next = Math.max(next, this.#first);
      const line = this.#lines[next - this.#first];
      if (line !== undefined) {
        next += 1;
        yield line;
      } else if (this.#ended) {
        return;
      } else {
        await this.#wait(signal);
      }
    }
  }

  #add(lines: readonly string[]): void {
    for (const line of lines) {
      this.#lines.push(line);
      this.#length += line.length;
    }
    while (this.#length > MAX_KEPT_LENGTH) {
      this.#length -= this.#lines.shift()?.length ?? 0;
      this.#first += 1;
    }
    for (const wake of [...this.#wakeUps]) {
      wake();
    }
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#wakeUps.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#wakeUps.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }
}
