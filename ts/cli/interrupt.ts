import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A wish from outside to end: a signal, or a reader of our output that has gone. */
export interface Interrupt extends Disposable {
  /** Aborts at the first such wish. Those after it change nothing: the tidying up that it began is under way. */
  readonly signal: AbortSignal;
  /** The exit code that says what it was: 128 + the signal's number; undefined while there was none. */
  readonly exitCode: number | undefined;
  /** As if a signal had come. */
  say(name: NodeJS.Signals): void;
}

/** @param takes whether somebody else takes a signal for their own affair */
export function watchInterrupts(
  signals: readonly NodeJS.Signals[] = SIGNALS,
  takes: (name: NodeJS.Signals) => boolean = () => false,
): Interrupt {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const interrupt = (name: NodeJS.Signals) => {
    exitCode ??= 128 + constants.signals[name];
    controller.abort();
  };
  const onSignal = (name: NodeJS.Signals) => {
    if (!takes(name)) {
      interrupt(name);
    }
  };
  const onPipe = (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') {
      interrupt('SIGPIPE');
    }
  };
  for (const name of signals) {
    process.on(name, onSignal);
  }
  process.stdout.on('error', onPipe);
  process.stderr.on('error', onPipe);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    say: onSignal,
    [Symbol.dispose]() {
      for (const name of signals) {
        process.off(name, onSignal);
      }
      // The listeners of the output stay: a write may still fail while this process ends.
    },
  };
}
