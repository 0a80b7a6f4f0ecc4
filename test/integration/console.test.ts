import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { until } from '../support/leftovers.js';
import { openToyBench } from '../support/toy-bench.js';

const QEMU = join(PACKAGE_ROOT, 'bin/smartvm-qemu');

test('a console listener that comes after the start hears it from its start', async () => {
  await using bench = await openToyBench(QEMU);
  const vm = bench.vm().removeAllListeners('console');
  await vm.start();
  await until(async () => (await vm.consoleTail()).includes('TOY GUEST UP'), 30_000, 'the greeting');
  let heard = '';
  vm.on('console', (chunk) => {
    heard += chunk;
  });
  await vm.writeConsole('p');
  await until(() => heard.includes('PONG'), 30_000, 'the answer');
  expect(heard.replaceAll('\r', '')).toBe('TOY GUEST UP\nPONG\n');
});

test('a step that fails ends its neighbours: the start does not wait for them', async () => {
  await using bench = await openToyBench('/usr/bin/yes'); // runs for ever and answers nothing
  const vm = bench.vm({}, async () => {
    throw new Error('no space left');
  });
  const begin = performance.now();
  await expect(vm.start({ timeoutMs: 60_000 })).rejects.toMatchObject({ code: 'START_FAILED' });
  expect(performance.now() - begin).toBeLessThan(10_000);
  expect(await bench.leftovers()).toEqual([]);
});
