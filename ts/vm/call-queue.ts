/** Runs calls one after the other, in the order in which they were made; the first of them at once. */
export class CallQueue {
  #last: Promise<unknown> = Promise.resolve();
  #pending = 0;

  run<T>(call: () => Promise<T>): Promise<T> {
    const result = this.#pending === 0 ? call() : this.#last.then(call);
    this.#pending += 1;
    this.#last = result
      .catch(() => undefined)
      .finally(() => {
        this.#pending -= 1;
      });
    return result;
  }

  /** Settles when the calls made so far have ended; never rejects. */
  get idle(): Promise<unknown> {
    return this.#last;
  }
}
