import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kill } from 'node:process';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { CreateVMOptions } from '../../ts/smartvm.js';
import { SmartVM } from '../../ts/smartvm.js';
import { delay } from '../../ts/util/deadline.js';
import type { VmExit } from '../../ts/vm/exit.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { readVmStatus } from '../../ts/vmm/registry/state.js';
import { until } from '../support/leftovers.js';
import { ManagerBench } from '../support/manager.js';
import { rejectionOf, ToyVm, VMMS } from '../support/toy-vm.js';

const HOUR_MS = 3_600_000;
const SOON_MS = 50;
/** Longer than a call takes on a busy machine. */
const LATER_MS = 2_000;

const exitOf = (vm: MicroVM): Promise<VmExit> => once(vm, 'exit').then(([exit]) => exit as VmExit);
const becomes = (vm: MicroVM, state: MicroVM['state']) => until(() => vm.state === state, 30_000, `${state} ${vm.id}`);

describe.skipIf(process.arch !== 'x64').each(VMMS)('A VM on $name', (vmm) => {
  let bench: ManagerBench;
  let smartvm: SmartVM;
  /** As another program. */
  let other: SmartVM;

  beforeAll(async () => {
    bench = await ManagerBench.open(vmm);
    vi.stubEnv('SMARTVM_RUNTIME_DIR', bench.runtimeDir);
    [smartvm, other] = [new SmartVM(bench.options), new SmartVM(bench.options)];
  });

  afterEach(async () => {
    await Promise.all([smartvm.cleanup(), other.cleanup()]);
    expect(await bench.leftovers()).toEqual([]);
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    await bench[Symbol.asyncDispose]();
  });

  async function start(options: CreateVMOptions = {}): Promise<MicroVM> {
    const vm = await smartvm.createVM(bench.config(bench.id()), options);
    await vm.start();
    return vm;
  }

  test('is seen by each program as the other has left it', async () => {
    const directory = bench.directoryOf(bench.id());
    const vm = await start();
    const states: string[] = [];
    vm.on('state', (state, previous) => states.push(`${previous} > ${state}`));
    const attached = await other.attach(vm.id);
    await attached.pause();
    await becomes(vm, 'paused');
    await until(() => readVmStatus(directory)?.state === 'paused', 30_000, 'state.json');
    await expect(vm.pause()).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await vm.resume();
    await becomes(attached, 'running');
    await new ToyVm(attached).pong();
    expect(states).toEqual(['running > paused', 'paused > resuming', 'resuming > running']);
    // More changes than news of them: in the end each knows.
    for (let round = 0; round < 5; round += 1) {
      await vm.pause();
      await vm.resume();
    }
    await vm.pause();
    await becomes(attached, 'paused');
    await until(() => readVmStatus(directory)?.state === 'paused', 30_000, 'state.json');
    expect(vm.state).toBe('paused');
    const exits = [exitOf(vm), exitOf(attached)];
    await vm.stop({ force: true });
    expect(await Promise.all(exits)).toMatchObject([
      { reason: 'stopped', orderly: true },
      { reason: 'stopped', orderly: true },
    ]);
    expect([vm.exit?.reason, attached.state]).toEqual(['stopped', 'stopped']);
  });

  test('is stopped when its time is up, by its keeper, with word of why', async () => {
    const vm = await smartvm.createVM(bench.config(bench.id()), { timeoutMs: 1 });
    const exit = exitOf(vm);
    await vm.start();
    expect(await exit).toMatchObject({ reason: 'timeout', orderly: true, error: undefined });
    expect([vm.state, smartvm.vmCount]).toEqual(['stopped', 0]);
    await expect(vm.setTimeout(1)).rejects.toMatchObject({ code: 'NO_CLIENT' });
  });

  test('is stopped when it is paused and its time is up, and nobody can change that any more', async () => {
    const vm = await start({ idleTimeoutMs: HOUR_MS });
    await vm.pause();
    const refused = rejectionOf(
      (async () => {
        for (await vm.setTimeout(SOON_MS); ; await delay(1)) {
          await vm.setIdleTimeout(HOUR_MS); // until it is too late
        }
      })(),
    );
    expect((await exitOf(vm)).reason).toBe('timeout');
    expect((await refused).code).toMatch(/INVALID_STATE|VMM_EXITED|NO_CLIENT/);
  });

  test('is paused when its time is up, and has no such time when it is resumed', async () => {
    const vm = await start({ timeoutMs: HOUR_MS, onTimeout: 'pause' });
    const directory = bench.directoryOf(vm.id);
    const toy = new ToyVm(vm);
    await toy.pong();
    const expiresAt = Date.parse(readVmStatus(directory)?.expiresAt ?? '');
    expect(Math.abs(expiresAt - Date.now() - HOUR_MS)).toBeLessThan(60_000);
    const attached = await other.attach(vm.id);
    await attached.setTimeout(SOON_MS);
    await Promise.all([becomes(vm, 'paused'), becomes(attached, 'paused')]);
    expect((await vm.getInfo()).state).toBe('Paused');
    await vm.resume();
    await toy.pong();
    await becomes(attached, 'running');
    await until(() => readVmStatus(directory)?.state === 'running', 30_000, 'state.json');
    expect(readVmStatus(directory)).not.toHaveProperty('expiresAt');
    expect(readVmStatus(directory)).toHaveProperty('onExpiry', 'pause');
  });

  test('lives on when the limit is moved or taken away in time', async () => {
    const vm = await start({ timeoutMs: HOUR_MS, onTimeout: 'pause' });
    await vm.setTimeout(LATER_MS);
    await vm.setTimeout(undefined);
    await delay(LATER_MS + SOON_MS);
    expect((await vm.getInfo()).state).toBe('Running');
    expect(readVmStatus(bench.directoryOf(vm.id))).not.toHaveProperty('expiresAt');
    await expect(vm.setTimeout(0)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test('is not resumed behind a snapshot when its time has come meanwhile', async () => {
    const vm = await start({ onTimeout: 'pause' });
    const [snapshotPath, memFilePath] = [bench.scratch.file('snapshot'), bench.scratch.file('memory')];
    const snapshot = () => vm.createSnapshot({ snapshotPath, memFilePath });
    const stateInVmm = async () => (await vm.getInfo()).state;
    await vm.setTimeout(1);
    await snapshot().catch(() => undefined); // which came too late where the pause was there before it
    await until(async () => vm.state === 'paused' && (await stateInVmm()) === 'Paused', 30_000, 'the pause');
    await delay(4 * SOON_MS);
    expect([vm.state, await stateInVmm()]).toEqual(['paused', 'Paused']);
    await vm.resume();
    await snapshot();
    await delay(4 * SOON_MS);
    expect([vm.state, await stateInVmm()]).toEqual(['running', 'Running']);
  });

  test('that is idle is paused, and begins anew when it is resumed', async () => {
    const vm = await start({ idleTimeoutMs: SOON_MS, onTimeout: 'pause' });
    await becomes(vm, 'paused');
    await vm.resume();
    await until(() => vm.state === 'paused', 30_000, 'the second pause');
    await vm.setIdleTimeout(undefined);
    await vm.resume();
    await delay(3 * SOON_MS);
    expect((await vm.getInfo()).state).toBe('Running');
  });

  test('ends in time though its program was killed, and leaves nothing where that was asked for', async () => {
    const config = { ...bench.config(bench.id()), vsock: undefined };
    const life = { timeoutMs: HOUR_MS, removeOnExit: true };
    // A layer outside its directory would be left to the next program.
    const order = { configs: [config as never], layersFolder: undefined, detached: true, life };
    await using manager = bench.manager(order);
    expect(await manager.word()).toHaveLength(1);
    await manager.kill();
    const { keeper, vmm: process } = await bench.identitiesOf(bench.id());
    {
      await using vm = await smartvm.attach(bench.id());
      await vm.pause(); // what does not run is not asked to end
      await vm.setTimeout(300);
    }
    await bench.ends(keeper, process);
    expect(existsSync(bench.directoryOf(bench.id()))).toBe(false);
    await smartvm.prune(); // of leases a keeper knows nothing
  });

  test('tells whoever comes later why it ended, and holds no limit when its keeper was killed before', async () => {
    await using manager = bench.manager({
      configs: [bench.config(bench.id(1)), bench.config(bench.id(2))],
      detached: true,
      life: { timeoutMs: HOUR_MS, onTimeout: 'stop' },
    });
    expect(await manager.word()).toHaveLength(2);
    await manager.kill();
    const vm = await smartvm.attach(bench.id(1));
    await vm.pause();
    await vm.setTimeout(LATER_MS);
    await vm.release();
    const ended = await bench.identitiesOf(bench.id(1));
    await bench.ends(ended.keeper, ended.vmm);
    const exit = JSON.parse(await readFile(join(bench.directoryOf(bench.id(1)), 'exit.json'), 'utf8'));
    expect(exit).toMatchObject({ reason: 'timeout' });
    const second = await smartvm.attach(bench.id(2));
    const exited = exitOf(second);
    const { keeper } = await bench.identitiesOf(bench.id(2));
    kill(keeper.pid, 'SIGKILL');
    expect((await exited).reason).toBe('vmm-killed');
    await smartvm.prune();
  });
});
