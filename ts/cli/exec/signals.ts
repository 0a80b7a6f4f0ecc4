import { constants } from 'node:os';
import type { GuestProcess } from '../../guest/types.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** The signals of this program on their way to a process in a guest. */
export interface ForwardedSignals extends Disposable {
  /** Aborts when this program is to end whatever the process does, and, before there is one, at the first signal. */
  readonly ending: AbortSignal;
  /** 128 + the number of the signal for which this program ends; undefined while the process has the say. */
  readonly exitCode: number | undefined;
  /** From now on the first signal is the process's own affair. The second ends it, as does a reader of its output that has gone. */
  to(child: GuestProcess): void;
}

export function forwardSignals(): ForwardedSignals {
  const controller = new AbortController();
  let child: GuestProcess | undefined;
  let told = false;
  let exitCode: number | undefined;
  const end = (name: NodeJS.Signals) => {
    exitCode ??= 128 + constants.signals[name];
    controller.abort();
    child?.destroy();
  };
  const onSignal = (name: NodeJS.Signals) => {
    if (!child || told) {
      end(name);
      return;
    }
    told = true;
    child.kill(name);
  };
  const onError = (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') {
      end('SIGPIPE');
    }
  };
  for (const name of SIGNALS) {
    process.on(name, onSignal);
  }
  process.stdout.on('error', onError);
  process.stderr.on('error', onError);
  return {
    ending: controller.signal,
    get exitCode() {
      return exitCode;
    },
    to(process) {
      child = process;
      if (exitCode !== undefined) {
        child.destroy();
      }
    },
    [Symbol.dispose]() {
      for (const name of SIGNALS) {
        process.off(name, onSignal);
      }
      // The listeners of the output stay: a write may still fail while this program ends.
    },
  };
}
