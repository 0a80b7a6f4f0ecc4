import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SmartVM } from '../../ts/smartvm.js';
import { delay } from '../../ts/util/deadline.js';
import { isAlive } from '../../ts/util/process-identity.js';
import { BOOT } from '../../ts/vm/boot.js';
import type { PruneReport } from '../../ts/vmm/registry/prune.js';
import { ManagerBench } from '../support/manager.js';
import { VMMS } from '../support/toy-vm.js';

const STEPS = BOOT.flat().map(({ name }) => name);
const TAP = `sv${process.pid}`;

/** The same numbers from 0 to 1 on every run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Without processes, which may have been dying at the first look. */
const lasting = ({ vms }: PruneReport) =>
  vms.map(({ things, error }) => ({ error, things: things.filter(({ kind }) => kind !== 'process') }));

describe.skipIf(process.arch !== 'x64').each(VMMS)('what $name leaves', ({ name, jail = false, path }) => {
  let bench: ManagerBench;
  let smartvm: SmartVM;
  // Only a jail makes TAPs, for a VMM that may not.
  const [taps, networkInterfaces] = jail ? [[TAP], [{ ifaceId: 'eth0', hostDevName: TAP }]] : [[], []];

  beforeAll(async () => {
    bench = await ManagerBench.open({ name, path, jail });
    vi.stubEnv('SMARTVM_RUNTIME_DIR', bench.runtimeDir);
    smartvm = new SmartVM(bench.options);
  });

  afterEach(async () => {
    expect((await smartvm.prune()).unreadable).toEqual([]);
    expect(await bench.leftovers(taps)).toEqual([]);
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    await bench[Symbol.asyncDispose]();
  });

  test.each([
    ['manager'],
    ['manager', 'keeper'],
    ['manager', 'vmm'],
    ['manager', 'keeper', 'vmm'],
    ['keeper', 'manager'],
    ['vmm', 'manager'],
  ])('is undone by the next program when the %s %s %s are killed', async (...killed) => {
    const id = bench.id();
    await using manager = bench.manager({ configs: [bench.config(id, { networkInterfaces })] });
    expect(await manager.word()).toMatchObject([{ id }]);
    const { keeper, vmm } = await bench.identitiesOf(id);
    const cgroups = await bench.cgroupsOf(id);
    expect(cgroups.length > 0).toBe(jail);
    expect(existsSync(`/sys/class/net/${TAP}`)).toBe(jail);
    const pids = { manager: manager.pid, keeper: keeper.pid, vmm: vmm.pid };
    for (const one of killed) {
      process.kill(pids[one as keyof typeof pids], 'SIGKILL');
    }
    await manager.kill();
    await bench.ends(...(killed.includes('keeper') ? [keeper] : []), ...(killed.includes('vmm') ? [vmm] : []));
    const plan = await smartvm.prune({ dryRun: true });
    const report = await smartvm.prune();
    expect(lasting(report)).toEqual(lasting(plan));
    expect(await Promise.all([keeper, vmm].map(isAlive))).toEqual([false, false]);
    expect(cgroups.filter(existsSync)).toEqual([]);
    expect(await bench.leftovers(taps)).toEqual([]);
    expect(await smartvm.prune()).toEqual({ vms: [], others: [], unreadable: [] });
  });

  test.each(STEPS.flatMap((step) => [[step, 'before'] as const, [step, 'after'] as const]))(
    'is undone when the program is killed at the step %s, %s it',
    async (step, when) => {
      await using manager = bench.manager({
        configs: [bench.config(bench.id(), { networkInterfaces })],
        dieAt: { step, when },
      });
      expect(await manager.word()).toBeUndefined();
      await smartvm.prune();
      expect(await bench.leftovers(taps)).toEqual([]);
    },
  );

  test('is undone when the program is killed at every undo', async () => {
    for (let undo = 0, word: unknown; word !== 'cleaned up'; undo++) {
      await using manager = bench.manager({
        configs: [bench.config(bench.id(), { networkInterfaces })],
        dieAt: { undo },
      });
      word = await manager.word();
      expect(['cleaned up', undefined]).toContain(word);
      await manager.kill();
      await smartvm.prune();
      expect([undo, await bench.leftovers(taps)]).toEqual([undo, []]);
    }
  });

  test('is undone when the program is killed at any moment', async () => {
    const random = seeded(20_260_101);
    for (let round = 0; round < 12; round++) {
      await using manager = bench.manager({ configs: [bench.config(bench.id(), { networkInterfaces })] });
      const ms = 300 + random() * 900;
      await Promise.race([manager.word(), delay(ms)]);
      await manager.kill();
      await smartvm.prune();
      expect([round, ms, await bench.leftovers(taps)]).toEqual([round, ms, []]);
    }
  });

  test('under its id is reclaimed by the next start, and not entered', async () => {
    await using manager = bench.manager({ configs: [bench.config(bench.id())] });
    await manager.word();
    const { keeper, vmm } = await bench.identitiesOf(bench.id());
    process.kill(keeper.pid, 'SIGKILL');
    await manager.kill();
    await using other = new SmartVM(bench.options);
    const vm = await other.createVM(bench.config(bench.id()));
    await vm.start();
    expect((await bench.identitiesOf(bench.id())).vmm).not.toEqual(vmm);
    expect(await isAlive(vmm)).toBe(false);
    expect((await vm.getInfo()).state).toBe('Running');
  });

  test('is undone once by several programs at once', async () => {
    const ids = [1, 2, 3].map((number) => bench.id(number));
    await using manager = bench.manager({ configs: ids.map((id) => bench.config(id)) });
    await manager.word();
    process.kill(manager.pid, 'SIGSTOP'); // it would undo them itself
    for (const id of ids) {
      process.kill((await bench.identitiesOf(id)).keeper.pid, 'SIGKILL');
    }
    await manager.kill();
    const reports = await Promise.all(Array.from({ length: 4 }, () => new SmartVM(bench.options).prune()));
    expect(reports.flatMap(({ vms }) => vms.map(({ id, error }) => [id, error])).toSorted()).toEqual(
      ids.map((id) => [id, undefined]),
    );
  });

  test('is not undone while the VM lives', async () => {
    await using manager = bench.manager({ configs: [bench.config(bench.id())] });
    await manager.word();
    const { vmm } = await bench.identitiesOf(bench.id());
    expect(await smartvm.prune()).toEqual({ vms: [], others: [], unreadable: [] });
    const vm = await smartvm.createVM(bench.config(bench.id()));
    await expect(vm.start()).rejects.toMatchObject({ code: 'VM_EXISTS' });
    expect(await isAlive(vmm)).toBe(true);
    expect(await readdir(bench.directoryOf(bench.id()))).toContain('vm.json');
  });
});
