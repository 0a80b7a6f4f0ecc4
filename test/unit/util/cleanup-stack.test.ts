import { describe, expect, test } from 'vitest';
import type { SmartVMError } from '../../../ts/errors.js';
import { CleanupStack } from '../../../ts/util/cleanup-stack.js';

describe('CleanupStack', () => {
  test('undoes in reverse, one after the other, and forgets', async () => {
    const stack = new CleanupStack();
    const log: string[] = [];
    for (const name of ['a', 'b', 'c']) {
      stack.push(name, async () => {
        log.push(`${name} begins`);
        await new Promise(setImmediate);
        log.push(`${name} ends`);
      });
    }
    expect(stack.size).toBe(3);
    await stack.unwind();
    expect(log).toEqual(['c begins', 'c ends', 'b begins', 'b ends', 'a begins', 'a ends']);
    expect(stack.size).toBe(0);
    await stack.unwind();
    expect(log).toHaveLength(6);
  });

  test('goes on behind an undo that fails, and reports all errors together', async () => {
    const stack = new CleanupStack();
    const [first, second] = [new Error('first'), new Error('second')];
    let ran = 0;
    stack.push('rejects', () => Promise.reject(first));
    stack.push('works', () => ran++);
    stack.push('throws', () => {
      throw second;
    });
    const error = await stack.unwind().then(
      () => undefined,
      (reason: unknown) => reason as SmartVMError,
    );
    expect(ran).toBe(1);
    expect(error).toMatchObject({ name: 'SmartVMError', code: 'CLEANUP_FAILED' });
    expect((error as { cause: AggregateError }).cause.errors.map((each: Error) => each.cause)).toEqual([second, first]);
    expect(error?.message).toBe("undo of 'throws' failed: second; undo of 'rejects' failed: first");
  });

  test('runs also what an undo pushes', async () => {
    const stack = new CleanupStack();
    const log: string[] = [];
    stack.push('outer', () => stack.push('inner', () => log.push('inner')));
    await stack.unwind();
    expect(log).toEqual(['inner']);
  });
});
