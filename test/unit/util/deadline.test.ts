import { getEventListeners } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { delay, linkSignals, throwIfCanceled, withDeadline } from '../../../ts/util/deadline.js';

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

/** Whether a promise has settled by now. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  promise.finally(() => (done = true)).catch(() => undefined);
  await vi.advanceTimersByTimeAsync(0);
  return done;
}

describe('delay', () => {
  test('waits, and takes its listener away', async () => {
    const { signal } = new AbortController();
    const wait = delay(100, signal);
    await vi.advanceTimersByTimeAsync(99);
    expect(await settled(wait)).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await settled(wait)).toBe(true);
    expect(listeners(signal)).toBe(0);
  });

  test('ends at the signal', async () => {
    const controller = new AbortController();
    const wait = delay(1e9, controller.signal);
    controller.abort();
    await wait;
    expect(listeners(controller.signal)).toBe(0);
  });

  test('ends at once with a signal that has aborted', async () => {
    await delay(1e9, AbortSignal.abort());
  });

  test('a wait beyond what a timer can do is not over at once', async () => {
    const controller = new AbortController();
    const wait = delay(Number.POSITIVE_INFINITY, controller.signal);
    await vi.advanceTimersByTimeAsync(1e6);
    expect(await settled(wait)).toBe(false);
    controller.abort();
    await wait;
  });
});

describe('withDeadline', () => {
  const late = () => new Error('late');

  test('passes a result and an error on', async () => {
    expect(await withDeadline(Promise.resolve(7), 1_000, late)).toBe(7);
    await expect(withDeadline(Promise.reject(new Error('broken')), 1_000, late)).rejects.toThrow('broken');
  });

  test('rejects at the deadline; what the work says later is nobody else’s', async () => {
    let fail: (error: Error) => void = () => undefined;
    const work = new Promise<never>((_resolve, reject) => {
      fail = reject;
    });
    const result = expect(withDeadline(work, 1_000, late)).rejects.toThrow('late');
    await vi.advanceTimersByTimeAsync(1_000);
    await result;
    fail(new Error('too late')); // an unhandled rejection would fail this file
    await vi.advanceTimersByTimeAsync(0);
  });
});

describe('linkSignals', () => {
  test('aborts with the first of its sources, and its reason', () => {
    const [first, second] = [new AbortController(), new AbortController()];
    using linked = linkSignals([first.signal, undefined, second.signal], 1_000);
    expect(linked.signal.aborted).toBe(false);
    second.abort('enough');
    expect(linked).toMatchObject({ timedOut: false, signal: { aborted: true, reason: 'enough' } });
  });

  test('has aborted when a source had', () => {
    using linked = linkSignals([AbortSignal.abort('before')]);
    expect(linked).toMatchObject({ timedOut: false, signal: { aborted: true, reason: 'before' } });
  });

  test('aborts at its deadline', async () => {
    using linked = linkSignals([], 1_000);
    await vi.advanceTimersByTimeAsync(999);
    expect(linked.signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(linked).toMatchObject({ timedOut: true, signal: { aborted: true, reason: { name: 'TimeoutError' } } });
  });

  test('a deadline behind an abort changes nothing', async () => {
    const controller = new AbortController();
    using linked = linkSignals([controller.signal], 1_000);
    controller.abort();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(linked.timedOut).toBe(false);
  });

  test.each([0, Number.POSITIVE_INFINITY, 2 ** 31])('%d ms is no deadline', async (timeoutMs) => {
    using linked = linkSignals([], timeoutMs);
    await vi.advanceTimersByTimeAsync(1e6);
    expect(linked.signal.aborted).toBe(false);
  });

  test('leaves nothing in a source that lives on', () => {
    const { signal } = new AbortController();
    for (let round = 0; round < 100; round++) {
      using _linked = linkSignals([signal], 1_000);
      expect(listeners(signal)).toBe(1);
    }
    expect(listeners(signal)).toBe(0);
  });

  test('keeps its deadline, and a timeout among its sources, through a garbage collection', async () => {
    vi.useRealTimers();
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const aborted = (linked: { signal: AbortSignal }) =>
      new Promise<void>((resolve) => linked.signal.addEventListener('abort', () => resolve()));
    const both = Promise.all([aborted(linkSignals([], 100)), aborted(linkSignals([AbortSignal.timeout(100)]))]);
    for (let round = 0; round < 5; round++) {
      await new Promise(setImmediate);
      collectGarbage();
    }
    await both;
    vi.useFakeTimers();
  });
});

describe('throwIfCanceled', () => {
  test('throws CANCELED with the reason', () => {
    expect(() => throwIfCanceled(undefined, 'it')).not.toThrow();
    expect(() => throwIfCanceled(new AbortController().signal, 'it')).not.toThrow();
    expect(() => throwIfCanceled(AbortSignal.abort('why'), 'it')).toThrow(
      expect.objectContaining({ code: 'CANCELED', message: 'it was canceled', cause: 'why' }),
    );
  });
});
