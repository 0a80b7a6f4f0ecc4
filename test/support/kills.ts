import { expect } from 'vitest';
import type { IMicroVMConfig } from '../../ts/config/types.js';
import { SmartVM } from '../../ts/smartvm.js';
import { delay } from '../../ts/util/deadline.js';
import type { ChurnWord } from '../fixtures/churn.js';
import type { ManagerOrder } from '../fixtures/manager.js';
import { until } from './leftovers.js';
import { ManagerBench } from './manager.js';
import type { VmmAtHand } from './toy-vm.js';

/** The same numbers from 0 to 1 on every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** TAPs that are made for VMs, which only a jail does, for a VMM that may not. */
export function tapsOf({ jail }: VmmAtHand) {
  const taps = jail ? [`sv${process.pid}`] : [];
  return { taps, networkInterfaces: taps.map((hostDevName) => ({ ifaceId: 'eth0', hostDevName })) };
}

/**
 * What the next program finds when one was killed: VMs that were to outlive it, and had said so, run on; it ends these, and all that
 * is left of the others is undone.
 * @param lasting ids of those that must be there
 */
async function expectNothingLostOrLeft(
  bench: ManagerBench,
  lasting: readonly string[],
  taps: readonly string[],
): Promise<void> {
  await using next = new SmartVM(bench.options);
  const { vms, unreadable } = await next.attachAll();
  expect(unreadable).toEqual([]);
  expect(vms.map(({ id }) => id)).toEqual(expect.arrayContaining([...lasting]));
  for (const vm of vms.filter(({ id }) => lasting.includes(id))) {
    expect((await vm.getInfo()).state).toBe('Running');
  }
  await Promise.all(vms.map((vm) => vm.cleanup()));
  expect((await next.prune()).vms.map(({ error }) => error).filter(Boolean)).toEqual([]);
  expect(await bench.leftovers(taps)).toEqual([]);
}

/**
 * Kills a program before each change of the host that it makes.
 * @param order what it does, until the end of all its VMs
 * @param check what must hold behind each kill, before the next program comes
 * @returns how many changes there are
 */
export async function killAtEveryChange(
  vmm: VmmAtHand,
  order: (bench: ManagerBench, config: IMicroVMConfig) => Promise<Omit<ManagerOrder, 'smartvm' | 'dieAt'>>,
  check: (bench: ManagerBench, id: string) => Promise<void> = async () => undefined,
): Promise<number> {
  const { taps, networkInterfaces } = tapsOf(vmm);
  await using bench = await ManagerBench.open(vmm);
  for (let change = 0; ; change++) {
    const config = bench.config(bench.id(), { networkInterfaces });
    await using manager = bench.manager({ ...(await order(bench, config)), dieAt: { change } });
    const word = await manager.word();
    expect([undefined, 'ended']).toContain(word);
    await manager.kill();
    const checked = check(bench, bench.id()).then(() => expectNothingLostOrLeft(bench, [], taps));
    await checked.catch((cause: Error) => {
      throw new Error(`killed before change ${change}: ${cause.message}`, { cause });
    });
    if (word) {
      return change;
    }
  }
}

/** Kills programs that make and end VMs, one of those that outlive them among them, at moments that the seed gives. */
export async function killAtRandom(vmm: VmmAtHand, kills: number, seed: number): Promise<void> {
  const { taps, networkInterfaces } = tapsOf(vmm);
  await using bench = await ManagerBench.open(vmm);
  const random = seeded(seed);
  const [own, lasting] = [bench.id(1), bench.id(2)];
  const churn = () =>
    bench.churn({
      vms: [
        { config: bench.config(own, { networkInterfaces }), detached: false },
        { config: bench.config(lasting), detached: true },
      ],
    });
  const span = await spanOf(churn);
  await expectNothingLostOrLeft(bench, [], taps);
  for (let round = 0; round < kills; round++) {
    await using program = churn();
    await program.word();
    program.go();
    const ms = random() * span;
    await delay(ms);
    expect(await program.kill()).toBe('SIGKILL'); // and of nothing else before
    const last = program.words.filter((word) => word !== 'ready' && word.id === lasting).at(-1);
    await expectNothingLostOrLeft(bench, last && isUp(last) ? [lasting] : [], taps).catch((cause: Error) => {
      throw new Error(`kill ${round}, ${ms.toFixed(1)} ms after the start: ${cause.message}`, { cause });
    });
  }
}

const isUp = (word: ChurnWord) => word !== 'ready' && word.state === 'runs';

/** How long VMs take from nothing until others run in their place, in milliseconds. */
async function spanOf(churn: () => ReturnType<ManagerBench['churn']>): Promise<number> {
  await using program = churn();
  await program.word();
  const begin = performance.now();
  program.go();
  await until(() => program.words.filter(isUp).length >= 4, 30_000, 'a second VM');
  return performance.now() - begin;
}
