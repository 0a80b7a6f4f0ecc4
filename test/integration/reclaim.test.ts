import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SmartVM } from '../../ts/smartvm.js';
import { isAlive } from '../../ts/util/process-identity.js';
import type { PruneReport } from '../../ts/vmm/registry/prune.js';
import { tapsOf } from '../support/kills.js';
import { ManagerBench } from '../support/manager.js';
import { VMMS } from '../support/toy-vm.js';

/** Without processes, which may have been dying at the first look. */
const lasting = ({ vms }: PruneReport) =>
  vms.map(({ things, error }) => ({ error, things: things.filter(({ kind }) => kind !== 'process') }));

describe.skipIf(process.arch !== 'x64').each(VMMS)('what $name leaves', (vmm) => {
  let bench: ManagerBench;
  let smartvm: SmartVM;
  const { taps, networkInterfaces } = tapsOf(vmm);

  beforeAll(async () => {
    bench = await ManagerBench.open(vmm);
    smartvm = new SmartVM(bench.options);
  });

  afterEach(async () => {
    expect((await smartvm.prune()).unreadable).toEqual([]);
    expect(await bench.leftovers(taps)).toEqual([]);
  });

  afterAll(async () => {
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
    const { keeper, vmm: machine } = await bench.identitiesOf(id);
    const cgroups = await bench.cgroupsOf(id);
    expect(cgroups.length > 0).toBe(vmm.jail ?? false);
    expect(taps.filter((tap) => existsSync(`/sys/class/net/${tap}`))).toEqual(taps);
    const pids = { manager: manager.pid, keeper: keeper.pid, vmm: machine.pid };
    for (const one of killed) {
      process.kill(pids[one as keyof typeof pids], 'SIGKILL');
    }
    await manager.kill();
    await bench.ends(...(killed.includes('keeper') ? [keeper] : []), ...(killed.includes('vmm') ? [machine] : []));
    const plan = await smartvm.prune({ dryRun: true });
    const report = await smartvm.prune();
    expect(lasting(report)).toEqual(lasting(plan));
    expect(await Promise.all([keeper, machine].map(isAlive))).toEqual([false, false]);
    expect(cgroups.filter(existsSync)).toEqual([]);
    expect(await bench.leftovers(taps)).toEqual([]);
    expect(await smartvm.prune()).toEqual({ vms: [], others: [], unreadable: [] });
  });

  test('under its id is reclaimed by the next start, and not entered', async () => {
    await using manager = bench.manager({ configs: [bench.config(bench.id())] });
    await manager.word();
    const { keeper, vmm: machine } = await bench.identitiesOf(bench.id());
    process.kill(keeper.pid, 'SIGKILL');
    await manager.kill();
    await using other = new SmartVM(bench.options);
    const vm = await other.createVM(bench.config(bench.id()));
    await vm.start();
    expect((await bench.identitiesOf(bench.id())).vmm).not.toEqual(machine);
    expect(await isAlive(machine)).toBe(false);
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
    const { vmm: machine } = await bench.identitiesOf(bench.id());
    expect(await smartvm.prune()).toEqual({ vms: [], others: [], unreadable: [] });
    const vm = await smartvm.createVM(bench.config(bench.id()));
    await expect(vm.start()).rejects.toMatchObject({ code: 'VM_EXISTS' });
    expect(await isAlive(machine)).toBe(true);
    expect(await readdir(bench.directoryOf(bench.id()))).toContain('vm.json');
  });
});
