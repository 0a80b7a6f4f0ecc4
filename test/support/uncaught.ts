/** Takes the place of whoever hears of uncaught exceptions, until it is disposed, and collects them. */
export class UncaughtExceptions implements Disposable {
  readonly errors: unknown[] = [];
  readonly #others = process.listeners('uncaughtException');
  readonly #collect = (error: unknown) => void this.errors.push(error);

  constructor() {
    process.removeAllListeners('uncaughtException').on('uncaughtException', this.#collect);
  }

  [Symbol.dispose](): void {
    process.off('uncaughtException', this.#collect);
    for (const listener of this.#others) {
      process.on('uncaughtException', listener);
    }
  }
}
