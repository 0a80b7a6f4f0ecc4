import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { failOnWarnings } from '../../../support/warnings.js';

const NOBODY = 65_534;
const limits = { pids: 10 };

/** As a program finds it that has just started. */
async function freshPolicy() {
  vi.resetModules();
  return (await import('../../../../ts/vmm/jail/policy.js')).jailPolicy;
}

describe('jailPolicy', () => {
  failOnWarnings();

  test('jails by default as root, and as it was asked to', async () => {
    const jailPolicy = await freshPolicy();
    expect([undefined, true, { limits }].map((wanted) => jailPolicy(wanted, 0))).toEqual([{}, {}, { limits }]);
  });

  test.each([0, NOBODY])('gives the wall up for uid %i where that is asked for, in silence', async (uid) => {
    expect((await freshPolicy())(false, uid)).toBeUndefined();
    await new Promise(setImmediate); // a warning would come by then
  });

  test.each([[true], [{}], [{ limits }]])('refuses %j to a user who cannot', async (wanted) => {
    const jailPolicy = await freshPolicy();
    expect(() => jailPolicy(wanted, NOBODY)).toThrow(
      expect.objectContaining({
        code: 'JAIL_UNAVAILABLE',
        message: expect.stringMatching(/this is uid 65534; run as root, or give `jail: false`/),
      }),
    );
  });
});

test('jailPolicy of a user who cannot, and says nothing, goes without a jail and warns once in a program', async () => {
  const jailPolicy = await freshPolicy();
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);
  process.on('warning', onWarning);
  try {
    const warned = once(process, 'warning');
    expect([1, 2, 3].map(() => jailPolicy(undefined, NOBODY))).toEqual([undefined, undefined, undefined]);
    await warned;
    await new Promise(setImmediate);
    expect(warnings).toEqual([
      expect.objectContaining({ code: 'SMARTVM_UNJAILED', message: expect.stringContaining('`jail: false`') }),
    ]);
  } finally {
    process.off('warning', onWarning);
  }
});
