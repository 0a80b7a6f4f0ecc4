import type { GuestProcess } from '../../guest/types.js';
import { watchInterrupts } from '../interrupt.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** The signals of this program on their way to a process in a guest. */
export interface ForwardedSignals extends Disposable {
  /** Aborts when this program is to end whatever the process does, and, before there is one, at the first signal. */
  readonly ending: AbortSignal;
  /** 128 + the number of the signal for which this program ends; undefined while the process has the say. */
  readonly exitCode: number | undefined;
  /** From now on the first signal is the process's own affair. The second ends it, as does a reader of its output that has gone. */
  to(child: GuestProcess): void;
  /**
   * The terminal is gone. A process that is to outlive its terminal is told so and left, and this program ends; any other has SIGHUP, as
   * if that had come.
   */
  hangUp(): void;
}

export function forwardSignals(): ForwardedSignals {
  let child: GuestProcess | undefined;
  let told = false;
  const interrupt = watchInterrupts(SIGNALS, (name) => {
    if (!child || told) {
      return false;
    }
    child.kill(name);
    if (name === 'SIGHUP' && child.detached) {
      child.release();
      child = undefined;
      return false;
    }
    told = true;
    return true;
  });
  const end = () => child?.destroy();
  interrupt.signal.addEventListener('abort', end);
  return {
    ending: interrupt.signal,
    get exitCode() {
      return interrupt.exitCode;
    },
    to(process) {
      child = process;
      if (interrupt.signal.aborted) {
        end();
      }
    },
    hangUp() {
      interrupt.say('SIGHUP');
    },
    [Symbol.dispose]() {
      interrupt[Symbol.dispose]();
    },
  };
}
