import { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { SmartVMError } from '../../../ts/errors.js';
import { unreachable } from '../../../ts/guest/ports/address.js';
import { waitForPort } from '../../../ts/guest/ports/wait.js';

const ADDRESS = { port: 7999 };
const refuse = async () => Promise.reject(unreachable(ADDRESS, new Error('connection refused')));

function connection(): Duplex {
  return new Duplex({ read: () => undefined });
}

describe('the wait for a port', () => {
  test('lasts until somebody listens, and closes the connection by which it has learnt that', async () => {
    const made = connection();
    let dials = 0;
    await waitForPort(ADDRESS, async () => (++dials < 3 ? await refuse() : made), {});
    expect({ dials, destroyed: made.destroyed }).toEqual({ dials: 3, destroyed: true });
  });

  test('ends with the last refusal when nobody does', async () => {
    await expect(waitForPort(ADDRESS, refuse, { timeoutMs: 120 })).rejects.toMatchObject({
      code: 'PORT_UNREACHABLE',
      message: 'nobody listens at localhost:7999 in the guest within 120 ms: connection refused',
      details: { port: 7999, timeoutMs: 120 },
    });
  });

  test('ends on time when no answer comes, and closes the connection that comes too late', async () => {
    let answer: (socket: Duplex) => void = () => undefined;
    const waits = waitForPort(ADDRESS, () => new Promise((resolve) => (answer = resolve)), { timeoutMs: 50 });
    await expect(waits).rejects.toMatchObject({ message: expect.stringContaining('no answer') });
    const late = connection();
    answer(late);
    await new Promise(setImmediate);
    expect(late.destroyed).toBe(true);
  });

  test('ends at once when it is canceled, or the guest is lost', async () => {
    const controller = new AbortController();
    const waits = waitForPort(ADDRESS, () => new Promise(() => undefined), { signal: controller.signal });
    controller.abort();
    await expect(waits).rejects.toMatchObject({ code: 'CANCELED' });
    const lost = new SmartVMError('AGENT_UNREACHABLE', 'gone');
    await expect(waitForPort(ADDRESS, () => Promise.reject(lost), {})).rejects.toBe(lost);
  });
});
