import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Ctrl-C and the like. What is under way is ended and undone first; it is not an error of anything. */
export class Interrupted extends Error {
  constructor(signal) {
    super(`interrupted by ${signal}`);
    this.signal = signal;
    this.exitCode = 128 + constants.signals[signal];
  }
}

const controller = new AbortController();

/** Aborts with an {@link Interrupted} at the first signal; those after it change nothing, the tidying up is under way. */
export const interruption = controller.signal;

export function watchInterrupts() {
  for (const name of SIGNALS) {
    process.on(name, () => controller.abort(new Interrupted(name)));
  }
}
