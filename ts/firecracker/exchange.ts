import type { Dispatcher } from 'undici';
import { type ApiCall, ApiError, transportError } from './api-error.js';

/** The largest answers are `GET /vm/config` and `GET /mmds`, of at most a few hundred KiB. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** A longer setTimeout() fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface Exchange {
  readonly status: number;
  readonly text: string;
}

export type ExchangeRequest = Pick<Dispatcher.DispatchOptions, 'body' | 'headers' | 'reset'>;

/**
 * One request and its whole answer, by undici's lowest layer: its streams would cost more than all of a small call.
 * Rejects with API_TIMEOUT, CANCELED, API_BAD_ANSWER or API_UNREACHABLE.
 */
export function exchange(
  dispatcher: Dispatcher,
  call: ApiCall,
  request: ExchangeRequest,
  limits: { timeoutMs: number; signal: AbortSignal | undefined },
): Promise<Exchange> {
  const { timeoutMs, signal } = limits;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let [status, bytes] = [0, 0];
    let controller: Dispatcher.DispatchController | undefined;
    let verdict: ApiError | undefined;
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    const cut = (error: ApiError) => {
      verdict ??= error;
      settle();
      reject(verdict);
      controller?.abort(verdict);
    };
    const onAbort = () => cut(new ApiError('CANCELED', 'canceled', call, { cause: signal?.reason }));
    const onTimeout = () => cut(new ApiError('API_TIMEOUT', `no answer within ${timeoutMs} ms`, call));
    const timer = timeoutMs > 0 && timeoutMs <= MAX_TIMER_MS ? setTimeout(onTimeout, timeoutMs) : undefined;
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) {
      onAbort();
      return;
    }
    dispatcher.dispatch(
      { method: call.method as Dispatcher.HttpMethod, path: call.path, ...request },
      {
        onRequestStart(started) {
          controller = started;
          if (verdict) {
            started.abort(verdict); // it waited for a connection too long
          }
        },
        onResponseStart(_controller, statusCode) {
          status = statusCode;
        },
        onResponseData(_controller, chunk) {
          bytes += chunk.length;
          chunks.push(chunk);
          if (bytes > MAX_ANSWER_BYTES) {
            cut(new ApiError('API_BAD_ANSWER', `the answer is over ${MAX_ANSWER_BYTES} bytes`, call));
          }
        },
        onResponseEnd() {
          settle();
          const answer = { status, text: Buffer.concat(chunks).toString('utf8') };
          // undici takes the connection back one turn of the event loop later: the next call would open another.
          queueMicrotask(() => setImmediate(resolve, answer));
        },
        onResponseError(_controller, error) {
          settle();
          reject(verdict ?? transportError(call, error));
        },
      },
    );
  });
}
