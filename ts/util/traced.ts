import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel';

/** What every message of a tracing channel has once the work that it tells of has ended. */
export interface TracedMessage {
  /** Milliseconds that it took; there from `asyncEnd` and `error` on. */
  durationMs?: number;
  /** Why it failed; there from `error` on. */
  readonly error?: unknown;
}

/** A step of a VM's start, or of the clean-up behind it. */
export interface StepMessage extends TracedMessage {
  /** Of the VM. */
  readonly id: string;
  readonly step: string;
  /** Milliseconds from the beginning of the start, or of the clean-up, to the beginning of this step. */
  readonly startMs: number;
}

export type StepChannel = TracingChannel<unknown, StepMessage>;

/** Each undo of what a VM held, in the reverse order of its making. */
export const CLEANUP_STEP: StepChannel = tracingChannel('smartvm:cleanup:step');

/**
 * Runs a piece of work, and tells the subscribers of a tracing channel of its beginning and its end. What a subscriber throws is
 * Node's to report, as an uncaught exception, and never the work's failure. The result, which may be secret, is in no message.
 */
export async function traced<Message extends TracedMessage, T>(
  channel: TracingChannel<unknown, Message>,
  message: Message,
  work: () => Promise<T>,
): Promise<T> {
  if (!channel.hasSubscribers) {
    return await work();
  }
  const begin = performance.now();
  const result: { value?: T } = {};
  await channel.tracePromise(async () => {
    try {
      result.value = await work();
    } finally {
      message.durationMs = performance.now() - begin;
    }
  }, message);
  return result.value as T;
}
