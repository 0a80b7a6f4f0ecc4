import { type FSWatcher, watch } from 'node:fs';
import { delay, linkSignals } from './deadline.js';

/** Tells of changes in a directory. Where the kernel has no watch left to give, only the time that a wait may take ends it. */
export class DirectoryChanges implements Disposable {
  readonly #watcher: FSWatcher | undefined;
  #change = new AbortController();

  constructor(directory: string) {
    try {
      this.#watcher = watch(directory, () => this.#change.abort());
      this.#watcher.on('error', () => undefined);
    } catch {
      this.#watcher = undefined;
    }
  }

  /** Forgets the changes so far: what follows is a look at the directory, which shows them. */
  reset(): void {
    if (this.#change.signal.aborted) {
      this.#change = new AbortController();
    }
  }

  /** Ends with a change since `reset()`, with the signal, or after `ms`. */
  async next(ms: number, signal: AbortSignal | undefined): Promise<void> {
    using linked = linkSignals([this.#change.signal, signal]);
    await delay(ms, linked.signal);
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
  }
}
