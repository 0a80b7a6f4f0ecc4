import type { SmartVMError } from '../../errors.js';
import { linkSignals, throwIfCanceled } from '../../util/deadline.js';
import type { Guest } from '../types.js';
import { ConsoleLines } from './console-lines.js';
import type { FailedWait, Wait, WaitUntilOptions } from './types.js';
import { WatchedWait } from './watched.js';

export { assertReadyOptions, assertWait } from './check.js';
export type { ReadyOptions, Wait, WaitUntilOptions } from './types.js';

/** What can be asked of a VM that is to be ready. */
export interface ReadySource {
  readonly guest: () => Promise<Guest>;
  /** The VM's console since its start, then live. */
  readonly console: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
  /** Settles with the reason when the VM has ended; never rejects. */
  readonly ended: Promise<SmartVMError>;
  /** The error when it was not ready in time. */
  readonly late: (what: string, details: Readonly<Record<string, unknown>>) => Promise<SmartVMError>;
}

const DEFAULT_READY_TIMEOUT_MS = 60_000;

/**
 * Waits until something has come to pass. Nothing of it goes on when this settles.
 * @throws SmartVMError READY_TIMEOUT with the waits that failed, CANCELED, VMM_EXITED at once when the VM ends; INVALID_STATE, NO_CLIENT,
 *   AGENT_MISSING, AGENT_TOO_OLD
 */
export async function waitUntilReady(
  wait: Wait,
  source: ReadySource,
  { timeoutMs = DEFAULT_READY_TIMEOUT_MS, signal }: WaitUntilOptions,
): Promise<void> {
  const over = new AbortController();
  using linked = linkSignals([signal, over.signal], timeoutMs);
  const watched = new WatchedWait(wait);
  const ground = { guest: source.guest, console: new ConsoleLines(source.console), over: over.signal };
  const running = watched.run(ground, linked.signal);
  try {
    const outcome = await Promise.race([running, source.ended]);
    if (outcome === 'met') {
      return;
    }
    if (typeof outcome !== 'string') {
      throw outcome;
    }
  } finally {
    over.abort();
    await running.catch(() => undefined);
  }
  throwIfCanceled(signal, 'the wait for what is to be ready');
  const failed = watched.failures();
  const what = `not ready in time: ${failed.map((wait) => words(wait, timeoutMs)).join('; ')}`;
  throw await source.late(what, { timeoutMs, failed });
}

function words({ wait, saw, timeoutMs }: FailedWait, wholeMs: number): string {
  return `${wait} within ${timeoutMs ?? wholeMs} ms (last seen: ${saw})`;
}
