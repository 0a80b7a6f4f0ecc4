import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from 'vitest';
import { CleanupStack } from '../../../ts/util/cleanup-stack.js';
import { type StepMessage, type TracedMessage, traced } from '../../../ts/util/traced.js';
import { Listening } from '../../support/heard.js';
import { UncaughtExceptions } from '../../support/uncaught.js';

interface Message extends TracedMessage {
  readonly what: string;
}

const NAME = 'smartvm:test';
const CHANNEL = tracingChannel<unknown, Message>(NAME);

describe('traced()', () => {
  test('gives what the work gives, and adds nothing to the message, when nobody listens', async () => {
    const message: Message = { what: 'work' };
    expect(await traced(CHANNEL, message, async () => 'result')).toBe('result');
    await expect(traced(CHANNEL, message, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(message).toEqual({ what: 'work' });
  });

  test('tells of the beginning and the end with its duration, and not of the result', async () => {
    using listening = new Listening<Message>(NAME);
    expect(await traced(CHANNEL, { what: 'work' }, async () => ({ secret: 'result' }))).toEqual({ secret: 'result' });
    expect(listening.heard).toEqual([
      { part: 'start', message: { what: 'work' } },
      { part: 'asyncEnd', message: { what: 'work', durationMs: expect.any(Number) } },
    ]);
    expect(JSON.stringify(listening.heard)).not.toContain('secret');
  });

  test('tells of a failure, which stays what it is', async () => {
    using listening = new Listening<Message>(NAME);
    const error = new Error('no');
    await expect(traced(CHANNEL, { what: 'work' }, () => Promise.reject(error))).rejects.toBe(error);
    const end = { what: 'work', durationMs: expect.any(Number), error };
    expect(listening.heard).toEqual([
      { part: 'start', message: { what: 'work' } },
      { part: 'error', message: end },
      { part: 'asyncEnd', message: end },
    ]);
  });

  test('a subscriber that throws is an uncaught exception, and no failure of the work', async () => {
    using uncaught = new UncaughtExceptions();
    const parts = ['start', 'end', 'asyncStart', 'asyncEnd'].map((part) => `tracing:${NAME}:${part}`);
    const thrower = (_message: unknown, name: string | symbol) => {
      throw new Error(String(name));
    };
    for (const part of parts) {
      subscribe(part, thrower);
    }
    try {
      expect(await traced(CHANNEL, { what: 'work' }, async () => 'result')).toBe('result');
      await new Promise(setImmediate);
    } finally {
      for (const part of parts) {
        unsubscribe(part, thrower);
      }
    }
    expect(uncaught.errors.map((error) => (error as Error).message)).toEqual(parts);
  });
});

describe('the clean-up behind a VM', () => {
  const failing = (id?: string) => {
    const stack = new CleanupStack(id);
    stack.push('fails', () => Promise.reject(new Error('no')));
    stack.push('works', () => undefined);
    return stack;
  };

  test('tells of each undo', async () => {
    using listening = new Listening<StepMessage>('smartvm:cleanup:step');
    await expect(failing('vm-1').unwind()).rejects.toMatchObject({ code: 'CLEANUP_FAILED' });
    const timed = { id: 'vm-1', startMs: expect.any(Number), durationMs: expect.any(Number) };
    expect(listening.of('asyncEnd')).toEqual([
      { ...timed, step: 'works' },
      { ...timed, step: 'fails', error: new Error('no') },
    ]);
    expect(listening.of('error')).toMatchObject([{ step: 'fails' }]);
  });

  test('of no VM in particular tells nobody', async () => {
    using listening = new Listening<StepMessage>('smartvm:cleanup:step');
    await expect(failing().unwind()).rejects.toMatchObject({ code: 'CLEANUP_FAILED' });
    expect(listening.heard).toEqual([]);
  });
});
