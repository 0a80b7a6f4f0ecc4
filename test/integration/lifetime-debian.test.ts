import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { delay } from '../../ts/util/deadline.js';
import type { VmExit } from '../../ts/vm/exit.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { until } from '../support/leftovers.js';

/** Longer than it takes to begin a command on a busy machine. */
const IDLE_MS = 2_000;

describe('a launched Debian guest', () => {
  let bench: Bench;

  beforeEach(async () => {
    bench = await openBench();
  });

  afterEach(async () => {
    await bench.smartvm.cleanup();
    expect(await bench.leftovers()).toEqual([]);
    await bench[Symbol.asyncDispose]();
  });

  const becomes = (vm: MicroVM, state: MicroVM['state']) =>
    until(() => vm.state === state, 20_000, `${vm.id} ${state}`);

  test('is not idle while commands run in it, and is paused and resumed as it was', async () => {
    const vm = await bench.smartvm.launch({ idleTimeoutMs: IDLE_MS, onTimeout: 'pause' });
    const states: string[] = [];
    const job = await vm.spawn(['cat']);
    vm.on('state', (state) => states.push(state));
    await vm.exec(['sleep', '1']);
    await delay(IDLE_MS);
    expect(states).toEqual([]);
    job.stdin.end('done');
    job.stdout.resume();
    expect((await job.wait()).exitCode).toBe(0);
    await becomes(vm, 'paused');
    await expect(vm.exec(['true'])).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await vm.setIdleTimeout(undefined);
    await vm.resume();
    await vm.setTimeout(1);
    await becomes(vm, 'paused');
    await vm.resume();
    expect((await vm.exec(['echo', 'still here'])).stdout).toBe('still here\n');
  });

  test('is asked to end when its time is up, and tells the command that it cuts off why', async () => {
    const vm = await bench.smartvm.launch({ timeoutMs: 60_000 });
    const lines: string[] = [];
    vm.on('console', (chunk) => lines.push(`${chunk}`));
    const exit = once(vm, 'exit').then(([told]) => told as VmExit);
    const command = vm.exec(['sleep', '1000']).catch((error: Error) => error);
    await vm.setTimeout(200);
    expect(await exit).toMatchObject({ reason: 'timeout', orderly: true, exitCode: 0, signal: null });
    // The guest ends it before itself, and whether word of that comes out before the VM's end does, it is the guest's to decide.
    const cutOff = { code: 'VMM_EXITED', message: expect.stringContaining('timeoutMs') };
    const told = await command;
    expect(told).toMatchObject(told instanceof Error ? cutOff : { signal: 'SIGTERM' });
    expect(lines.join('')).toContain('reboot: ');
  });
});
