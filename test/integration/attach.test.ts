import { once } from 'node:events';
import { copyFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SmartVM } from '../../ts/smartvm.js';
import { isAlive } from '../../ts/util/process-identity.js';
import type { VmExit } from '../../ts/vm/exit.js';
import { isKeeperAlive } from '../../ts/vmm/keeper.js';
import { readVmStatus } from '../../ts/vmm/registry/state.js';
import { ManagerBench } from '../support/manager.js';
import { ToyVm, VMMS } from '../support/toy-vm.js';

const GRACE = { graceMs: 300 };

describe.skipIf(process.arch !== 'x64').each(VMMS)('VMs on $name', (vmm) => {
  let bench: ManagerBench;
  let smartvm: SmartVM;

  beforeAll(async () => {
    bench = await ManagerBench.open(vmm);
    smartvm = new SmartVM(bench.options);
  });

  afterEach(async () => {
    expect(smartvm.vmCount).toBe(0);
    expect(await bench.leftovers()).toEqual([]);
  });

  afterAll(async () => {
    // Of a test that failed.
    await Promise.all((await smartvm.attachAll()).vms.map((vm) => vm.cleanup()));
    await bench[Symbol.asyncDispose]();
  });

  /** Detached VMs of a program that is killed. */
  async function orphans(count: number): Promise<string[]> {
    const ids = Array.from({ length: count }, (_, index) => bench.id(index + 1));
    await using manager = bench.manager({ configs: ids.map((id) => bench.config(id)), detached: true });
    expect(await manager.word()).toHaveLength(count);
    await manager.kill();
    return ids;
  }

  test('outlive the program that made them, killed as it may be, and are another’s to use and to stop', async () => {
    const ids = await orphans(5);
    const before = await Promise.all(ids.map((id) => bench.identitiesOf(id)));
    const { vms, failed, unreadable } = await smartvm.attachAll();
    expect([vms.map(({ id, state }) => [id, state]), failed, unreadable]).toEqual([
      ids.map((id) => [id, 'running']),
      [],
      [],
    ]);
    expect(smartvm.listVMs().toSorted()).toEqual(ids);
    const toys = vms.map((vm) => new ToyVm(vm));
    await Promise.all(toys.map((toy) => toy.says('TOY GUEST UP'))); // from the console's start
    await Promise.all(toys.map((toy) => toy.pong()));
    await toys[0]?.vm.pause();
    await toys[0]?.vm.resume();
    await toys[0]?.pong();
    expect(vms.map(({ pid }) => pid)).toEqual(before.map(({ vmm }) => vmm.pid));
    expect(await smartvm.prune()).toEqual({ vms: [], others: [], unreadable: [] });
    const exits = vms.map((vm) => once(vm, 'exit'));
    await Promise.all(vms.map((vm) => vm.stop(GRACE)));
    expect((await Promise.all(exits)).map(([exit]) => (exit as VmExit).reason)).toEqual(ids.map(() => 'stopped'));
    expect(vms.map(({ state }) => state)).toEqual(ids.map(() => 'stopped'));
  });

  test('live on when a handle of them is disposed of, paused ones as they are', async () => {
    const [id = ''] = await orphans(1);
    {
      await using vm = await smartvm.attach(id);
      await vm.pause();
    }
    expect([smartvm.vmCount, readVmStatus(bench.directoryOf(id))?.state]).toEqual([0, 'paused']);
    expect(await isKeeperAlive(bench.directoryOf(id))).toBe(true);
    const vm = await smartvm.attach(id);
    expect([vm.state, await smartvm.attach(id)]).toEqual(['paused', vm]);
    await smartvm.cleanup();
    await expect(vm.getInfo()).rejects.toMatchObject({ code: 'NO_CLIENT' });
    expect(await isKeeperAlive(bench.directoryOf(id))).toBe(true);
    const again = await smartvm.attach(id);
    await again.resume();
    await new ToyVm(again).pong();
    await again.stop(GRACE);
  });

  test('are let go of by the program that made them, and attached to by it', async () => {
    const vm = await smartvm.createVM(bench.config(bench.id()), {
      detached: true,
      name: 'web',
      labels: { tier: 'front' },
    });
    await vm.start();
    await vm.release();
    expect([smartvm.vmCount, await isKeeperAlive(bench.directoryOf(vm.id))]).toEqual([0, true]);
    await vm.release(); // once more is nothing more
    await expect(vm.stop()).rejects.toMatchObject({ code: 'NO_CLIENT' });
    await (await smartvm.attach(vm.id)).stop(GRACE);
  });

  test('end for all that are attached, and all that they held is undone once', async () => {
    const [id = ''] = await orphans(1);
    const programs = [smartvm, new SmartVM(bench.options), new SmartVM(bench.options)];
    const vms = await Promise.all(programs.map((one) => one.attach(id)));
    const exits = vms.map((vm) => once(vm, 'exit'));
    await vms[1]?.stop(GRACE);
    await Promise.all(exits);
    expect(await bench.leftovers()).toEqual([]);
  });

  test('of a living program can be attached to, and go with it', async () => {
    await using manager = bench.manager({ configs: [bench.config(bench.id())] });
    await manager.word();
    const vm = await smartvm.attach(bench.id());
    await new ToyVm(vm).pong();
    const exit = once(vm, 'exit');
    await manager.kill();
    expect(await exit).toMatchObject([{ reason: 'vmm-killed' }]);
    await smartvm.prune();
  });

  test.each(['keeper', 'vmm'] as const)(
    'whose %s is killed end for those attached, with nothing left but what is read of them',
    async (which) => {
      const [id = ''] = await orphans(1);
      const vm = await smartvm.attach(id);
      const { [which]: victim, vmm: machine } = await bench.identitiesOf(id);
      const exit = once(vm, 'exit');
      process.kill(victim.pid, 'SIGKILL');
      expect(await exit).toMatchObject([{ reason: 'vmm-killed', orderly: false }]);
      expect([vm.state, await isAlive(machine)]).toEqual(['failed', false]);
      expect(await bench.leftovers()).toEqual([id]);
      expect((await smartvm.prune()).vms).toMatchObject([{ id, exited: true }]);
    },
  );

  test('that end while nobody is attached are undone by the next', async () => {
    const [id = ''] = await orphans(1);
    const { keeper, vmm: machine } = await bench.identitiesOf(id);
    process.kill(machine.pid, 'SIGKILL');
    await bench.ends(keeper, machine);
    await expect(smartvm.attach(id)).rejects.toMatchObject({
      code: 'VM_NOT_FOUND',
      message: `VM ${id} has ended: it was killed by SIGKILL`,
      details: { exit: { signal: 'SIGKILL' } },
    });
    expect((await smartvm.prune()).vms).toMatchObject([{ id, exited: true }]);
  });

  test('do not outlive a program that is killed before their start is through', async () => {
    for (const step of ['configure', 'seal', 'agent']) {
      await using manager = bench.manager({
        configs: [bench.config(bench.id())],
        detached: true,
        dieAt: { step },
      });
      expect(await manager.word()).toBeUndefined();
      await smartvm.prune();
      expect([step, await bench.leftovers()]).toEqual([step, []]);
    }
  });

  test('keep the keys of the door to themselves', async () => {
    const [id = ''] = await orphans(1);
    for (const name of ['vm.json', 'keeper.sock', 'console.log']) {
      expect([name, (await stat(join(bench.directoryOf(id), name))).mode & 0o777]).toEqual([name, 0o600]);
    }
    await (await smartvm.attach(id)).stop(GRACE);
  });

  test('that cannot be attached to say why, and hinder no other', async () => {
    await expect(smartvm.attach('../x')).rejects.toMatchObject({ code: 'INVALID_ID' });
    await expect(smartvm.attach('nobody')).rejects.toMatchObject({ code: 'VM_NOT_FOUND' });
    const [first = '', second = ''] = await orphans(2);
    const record = join(bench.directoryOf(first), 'vm.json');
    const { keeper, vmm: machine } = await bench.identitiesOf(first);
    await copyFile(record, `${record}.kept`);
    await writeFile(record, '{"version":2}');
    await expect(smartvm.attach(first)).rejects.toMatchObject({
      code: 'RECORD_UNREADABLE',
      details: { problem: 'newer' },
    });
    const { vms, unreadable } = await smartvm.attachAll();
    expect([vms.map(({ id }) => id), unreadable.map(({ id }) => id)]).toEqual([[second], [first]]);
    expect(await Promise.all([keeper, machine].map(isAlive))).toEqual([true, true]);
    await rename(`${record}.kept`, record);
    await Promise.all([...vms, await smartvm.attach(first)].map((vm) => vm.stop(GRACE)));
  });
});

describe.skipIf(process.arch !== 'x64')('guests of a program that is killed', () => {
  test('run on, and do for another what they did for it', async () => {
    await using bench = await ManagerBench.open(VMMS[0] as (typeof VMMS)[number]);
    const ids = [1, 2, 3, 4, 5].map((number) => bench.id(number));
    const launches = ids.map((id) => ({ id, memSizeMib: 128 }));
    await using manager = bench.manager({ launches, detached: true });
    expect(await manager.word()).toHaveLength(5);
    const first = new SmartVM(bench.options);
    const bootIds = async (smartvm: SmartVM) => {
      const { vms } = await smartvm.attachAll();
      const results = await Promise.all(vms.map((vm) => vm.exec(['cat', '/proc/sys/kernel/random/boot_id'])));
      return [vms.map(({ id }) => id), results.map(({ stdout }) => stdout.trim())];
    };
    const before = await bootIds(first);
    await manager.kill();
    await first.cleanup();
    const second = new SmartVM(bench.options);
    expect(await bootIds(second)).toEqual(before);
    expect(before).toEqual([ids, ids.map(() => expect.stringMatching(/^[0-9a-f-]{36}$/))]);
    const access = join(bench.directoryOf(bench.id(1)), 'guest.json');
    expect((await stat(access)).mode & 0o777).toBe(0o600);
    expect(new Set(before[1]).size).toBe(5);
    const rungs = await Promise.all(ids.map((id) => second.getVM(id)?.stop()));
    expect(rungs).toEqual(ids.map(() => ({ rung: 'guest' })));
    expect(await bench.leftovers()).toEqual([]);
  }, 400_000);
});
