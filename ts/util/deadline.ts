import { SmartVMError } from '../errors.js';

/** A longer setTimeout() fires at once: 24.8 days stand for ever. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Waits, or ends early when the signal aborts; never throws and leaves no timer or listener behind. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(ms, MAX_TIMER_MS));
    signal?.addEventListener('abort', done, { once: true });
    if (signal?.aborted) {
      done();
    }
  });
}

/** The promise's result, or a rejection with `onTimeout()` after `ms`. The work itself is not ended: that is the caller's. */
export async function withDeadline<T>(promise: Promise<T>, ms: number, onTimeout: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(onTimeout()), Math.min(ms, MAX_TIMER_MS));
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** An AbortSignal made of others and of a deadline. Disposing of it takes the listeners and the timer away. */
export interface LinkedSignal extends Disposable {
  readonly signal: AbortSignal;
  /** Whether it was the deadline that aborted it, not one of its sources. */
  readonly timedOut: boolean;
}

/**
 * A signal that aborts with the first of its sources, or after `timeoutMs` (0: never).
 *
 * In place of AbortSignal.any(), which on Node 20 keeps an entry in a long-lived source for each call, and loses an
 * AbortSignal.timeout() to the garbage collector when nothing else refers to it: the deadline then never comes.
 */
export function linkSignals(sources: readonly (AbortSignal | undefined)[], timeoutMs = 0): LinkedSignal {
  const controller = new AbortController();
  let timedOut = false;
  const present = sources.filter((source) => source !== undefined);
  const onAbort = () => controller.abort(present.find((source) => source.aborted)?.reason);
  for (const source of present) {
    source.addEventListener('abort', onAbort, { once: true });
  }
  const onTimeout = () => {
    timedOut = !controller.signal.aborted;
    controller.abort(new DOMException(`no end within ${timeoutMs} ms`, 'TimeoutError'));
  };
  const timer = timeoutMs > 0 && timeoutMs <= MAX_TIMER_MS ? setTimeout(onTimeout, timeoutMs) : undefined;
  if (present.some((source) => source.aborted)) {
    onAbort();
  }
  return {
    signal: controller.signal,
    get timedOut() {
      return timedOut;
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      for (const source of present) {
        source.removeEventListener('abort', onAbort);
      }
    },
  };
}

/** @throws SmartVMError CANCELED when the signal has aborted */
export function throwIfCanceled(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) {
    throw new SmartVMError('CANCELED', `${what} was canceled`, { cause: signal.reason });
  }
}
