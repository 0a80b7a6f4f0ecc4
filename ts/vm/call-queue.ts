/** Runs calls one after the other, in the order in which they were made. */
export class CallQueue {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(call: () => Promise<T>): Promise<T> {
    const result = this.#last.then(call);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Settles when the calls made so far have ended; never rejects. */
  get idle(): Promise<unknown> {
    return this.#last;
  }
}
