import type { GuestProcess } from '../../guest/types.js';
import { delay } from '../../util/deadline.js';
import type { Interrupt } from '../interrupt.js';
import { milliseconds } from '../options.js';
import { EXIT_TIMED_OUT, exitCodeOf } from '../process-exit.js';
import { aborted, joinStreams } from '../streams.js';

/** Waits for the end of a command: its own, its timeout, or somebody's wish. */
export async function follow(
  child: GuestProcess,
  options: { timeout?: number; interactive?: boolean },
  interrupt: Interrupt,
): Promise<number> {
  using _streams = joinStreams(child, options);
  const done = new AbortController();
  const stops = AbortSignal.any([done.signal, interrupt.signal]);
  const timeoutMs = milliseconds(options.timeout);
  const late = timeoutMs === undefined ? [] : [delay(timeoutMs, stops).then(() => EXIT_TIMED_OUT)];
  try {
    const code = await Promise.race([child.wait().then(exitCodeOf), aborted(interrupt.signal), ...late]);
    return interrupt.exitCode ?? code;
  } finally {
    done.abort();
  }
}
