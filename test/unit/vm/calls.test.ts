import { describe, expect, test } from 'vitest';
import { CallQueue } from '../../../ts/vm/call-queue.js';
import { camelCased } from '../../../ts/vm/camel-case.js';

describe('CallQueue', () => {
  test('runs calls one after the other, and a failure holds up nobody', async () => {
    const queue = new CallQueue();
    const order: string[] = [];
    const call = (name: string, fails = false) =>
      queue.run(async () => {
        order.push(`${name} begins`);
        await new Promise(setImmediate);
        order.push(`${name} ends`);
        if (fails) {
          throw new Error(name);
        }
        return name;
      });
    const results = await Promise.allSettled([call('a'), call('b', true), call('c')]);
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await expect(queue.idle).resolves.not.toThrow();
  });
});

describe('camelCased()', () => {
  test('renames at any depth and leaves values alone', () => {
    const answer = { amount_mib: 1, 'boot-source': { boot_args: 'a_b' }, net: [{ iface_id: 'eth_0' }], a_2m: null };
    expect(camelCased(answer)).toEqual({
      amountMib: 1,
      bootSource: { bootArgs: 'a_b' },
      net: [{ ifaceId: 'eth_0' }],
      a2m: null,
    });
  });

  test('has the type of what it gives', () => {
    const amountMib: number = camelCased({ amount_mib: 1 }).amountMib;
    expect(amountMib).toBe(1);
  });
});
