import { afterEach, describe, expect, test, vi } from 'vitest';
import type { NetworkAttachment } from '../../../ts/config/network.js';
import type { BootContext } from '../../../ts/vm/boot-context.js';
import { linkTo } from '../../../ts/vm/renumbering.js';

/** As each VM has it inside of its namespace. */
const INSIDE = { ifaceId: 'eth0', mac: '02:00:00:00:00:02', ipv4: '172.29.255.2' } as NetworkAttachment;

describe('a guest out of a snapshot that another program has started paused', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Of a program that is attached to it. */
  const linkWith = (renumber: () => Promise<void>) => {
    const guest = { closed: new Promise(() => undefined), close: () => undefined, control: async () => ({}) };
    const vmm = { exited: new Promise(() => undefined), life: { useGuest: async () => () => undefined } };
    const context = {
      ...{ id: 'clone', process: vmm, dial: () => Promise.reject(new Error('lost')) },
      guest: { ...guest, network: async () => [{ name: 'eth0', mtu: 1500, mac: INSIDE.mac, addresses: [] }], renumber },
      attach: { restored: true, networks: [INSIDE] },
    };
    const link = linkTo(context as unknown as BootContext, { expectsAnswer: () => true, goneAfterMs: undefined });
    return link as NonNullable<typeof link>;
  };

  test('is given its name and network when it is resumed, though its addresses are those of its twin, and once', async () => {
    const renumber = vi.fn(async () => undefined);
    const link = linkWith(renumber);
    await link.wake();
    await link.wake();
    expect(renumber.mock.calls).toEqual([['clone', [INSIDE]]]);
    link.close();
  });

  test('may have been given them before: that is all that is said of one that does not answer', async () => {
    vi.useFakeTimers();
    const link = linkWith(() => new Promise(() => undefined));
    const woken = expect(link.wake()).rejects.toMatchObject({
      code: 'GUEST_NETWORK_FAILED',
      message: expect.stringContaining('may still have the addresses'),
    });
    await vi.advanceTimersByTimeAsync(120_000);
    await woken;
    link.close();
  });
});
