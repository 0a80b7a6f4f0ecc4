import { setImmediate } from 'node:timers/promises';

const MAX_HELD_MS = 5;

/** For work in many small synchronous steps: lets others have the event loop every few milliseconds. */
export class LoopTurn {
  #since = performance.now();

  async pass(): Promise<void> {
    if (performance.now() - this.#since > MAX_HELD_MS) {
      await setImmediate();
      this.#since = performance.now();
    }
  }
}
