import { beforeEach, expect, test } from 'vitest';
import { GuestUse } from '../../../ts/vmm/guest-use.js';

let holds = 0;
let asked = 0;
let refusal: Error | undefined;
let use: GuestUse;

const settled = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  [holds, asked, refusal] = [0, 0, undefined];
  use = new GuestUse(async () => {
    asked += 1;
    if (refusal) {
      throw refusal;
    }
    holds += 1;
    return () => {
      holds -= 1;
    };
  });
});

test('without an idle timeout the keeper is not asked', async () => {
  const end = await use.begin();
  end();
  await settled();
  expect(asked).toBe(0);
});

test('commands that run side by side have one hold, until the last has ended', async () => {
  use.isLimited = true;
  const ends = await Promise.all([use.begin(), use.begin(), use.begin()]);
  expect([asked, holds]).toEqual([1, 1]);
  ends[0]?.();
  ends[0]?.(); // which counts once
  ends[1]?.();
  await settled();
  expect(holds).toBe(1);
  ends[2]?.();
  await settled();
  expect(holds).toBe(0);
  (await use.begin())();
  await settled();
  expect([asked, holds]).toEqual([2, 0]);
});

test('a command that runs when the timeout is set holds from then on', async () => {
  const end = await use.begin();
  use.isLimited = true;
  use.isLimited = true;
  await settled();
  expect([asked, holds]).toEqual([1, 1]);
  end();
  await settled();
  expect(holds).toBe(0);
});

test('a command that comes too late is refused, and leaves nothing', async () => {
  use.isLimited = true;
  refusal = new Error('it is paused');
  await expect(use.begin()).rejects.toBe(refusal);
  refusal = undefined;
  const end = await use.begin();
  end();
  await settled();
  expect([asked, holds]).toEqual([2, 0]);
});
