import { expect, it } from 'vitest';
import { openBench } from '../support/debian-vm.js';

const BOOTS = 50;
const AT_ONCE = 4;

it(`${BOOTS} boots, ${AT_ONCE} at a time: none hangs, none fails, nothing is left`, async () => {
  await using bench = await openBench();
  let started = 0;
  const lane = async () => {
    while (started < BOOTS) {
      const number = ++started;
      await using vm = await bench.smartvm.launch({ hostname: `boot-${number}` });
      expect((await vm.exec(['uname', '-n'])).stdout).toBe(`boot-${number}\n`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  expect(started).toBe(BOOTS);
  expect(await bench.leftovers()).toEqual([]);
}, 900_000);
