import { SmartVMError } from '../errors.js';

/** Waits, or ends early when the signal aborts; never throws and leaves no timer or listener behind. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
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
    timer = setTimeout(() => reject(onTimeout()), ms);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws SmartVMError CANCELED when the signal has aborted */
export function throwIfCanceled(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) {
    throw new SmartVMError('CANCELED', `${what} was canceled`, { cause: signal.reason });
  }
}
