import { describe, expect, test } from 'vitest';
import { CleanupStack } from '../../../ts/util/cleanup-stack.js';
import { delay } from '../../../ts/util/deadline.js';
import { BOOT, RESTORE } from '../../../ts/vm/boot.js';
import type { BootContext } from '../../../ts/vm/boot-context.js';

describe.each([
  ['BOOT', BOOT],
  ['RESTORE', RESTORE],
])('%s', (_name, steps) => {
  test('begins with the capacity of the host, and what it waits for that is not of the time for the start', async () => {
    const [first] = steps[0] ?? [];
    const cleanup = new CleanupStack();
    const reserve = async () => {
      await delay(100);
      return async () => undefined;
    };
    const context = { reserve, queueMs: 0, deadline: 1_000, cleanup } as Partial<BootContext> as BootContext;
    await first?.run(context, new AbortController().signal);
    expect(first?.name).toBe('capacity');
    expect(context.deadline).toBeGreaterThanOrEqual(1_099);
    expect(cleanup.size).toBe(1);
  });
});
