import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { expectFloodToBeBorne } from '../support/console-flood.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { expectSlowReading } from '../support/slow-reading.js';

describe('a guest', () => {
  let bench: Bench;
  let vm: MicroVM;

  beforeAll(async () => {
    bench = await openBench();
    vm = await bench.smartvm.launch({ id: 'guest', memSizeMib: 256 });
  }, 300_000);

  afterAll(async () => {
    await vm?.stop({ force: true });
    expect(await bench.leftovers()).toEqual([]);
    await bench[Symbol.asyncDispose]();
  });

  test('gives 1 GiB to a reader that sleeps, whole, without taking them into memory', async () => {
    await expectSlowReading(vm, 1024);
  }, 1_800_000);

  test('that floods its console for 60 s goes on, and its log stays within its bounds', async () => {
    await expectFloodToBeBorne(vm, bench.runtimeDir, 60_000);
  }, 900_000);
});
