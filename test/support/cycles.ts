import { readdir, readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'vitest';
import { SmartVM } from '../../ts/smartvm.js';
import { tapsOf } from './kills.js';
import { ManagerBench } from './manager.js';
import type { VmmAtHand } from './toy-vm.js';

/** What a program has of the host, in numbers that must not grow. */
interface Held {
  readonly descriptors: number;
  /** Unix sockets that are bound, of all programs. */
  readonly sockets: number;
  readonly folders: number;
  readonly processes: number;
  readonly mounts: number;
  readonly listeners: number;
}

/** Of resident memory and of the heap, after the warm-up: 2 %. */
const MEMORY_GROWTH = 1.02;
const LOOKS = 10;

/**
 * Makes and ends VMs, one after the other, and looks at what this program has: behind a warm-up nothing grows.
 * @param warmUp cycles until caches are full and code is compiled
 * @returns the resident memory at each look, in MiB
 */
export async function expectNoGrowth(vmm: VmmAtHand, cycles: number, warmUp: number): Promise<string> {
  const { taps, networkInterfaces } = tapsOf(vmm);
  await using bench = await ManagerBench.open(vmm);
  await using smartvm = new SmartVM(bench.options);
  const collect = garbageCollector();
  const cycle = async (number: number) => {
    const vm = await smartvm.createVM(bench.config(bench.id(number % 2), { networkInterfaces }));
    await vm.start();
    await vm.cleanup();
  };
  for (let number = 0; number < warmUp; number++) {
    await cycle(number);
  }
  // What runs often is compiled ever better, which takes memory for a thousand cycles: from here on it stays as it is.
  setFlagsFromString('--no-opt');
  const before = await heldBy(bench);
  const resident: number[] = [];
  const heap: number[] = [];
  for (let number = 0; number < cycles; number++) {
    await cycle(number);
    if ((number + 1) % Math.ceil(cycles / LOOKS) === 0) {
      collect();
      const { rss, heapUsed } = process.memoryUsage();
      resident.push(rss);
      heap.push(heapUsed);
    }
  }
  const after = await heldBy(bench);
  expect(await bench.leftovers(taps)).toEqual([]);
  expectSteady('heap', heap);
  const said = expectSteady('resident memory', resident);
  expect(after).toEqual(before);
  return said;
}

/** @returns what was seen, in MiB */
function expectSteady(what: string, bytes: readonly number[]): string {
  // The least of either half: what the collector has not looked at yet comes and goes.
  const half = Math.floor(bytes.length / 2);
  const [first, last] = [Math.min(...bytes.slice(0, half)), Math.min(...bytes.slice(half))];
  const said = bytes.map((one) => (one / 2 ** 20).toFixed(1)).join(' ');
  expect(last / first, `${what} in MiB: ${said}`).toBeLessThan(MEMORY_GROWTH);
  return said;
}

async function heldBy({ runtimeDir, scratch }: ManagerBench): Promise<Held> {
  const lines = async (path: string) => (await readFile(path, 'utf8')).split('\n');
  const naming = async (path: string) => (await lines(path)).filter((line) => line.includes(scratch.path)).length;
  return {
    descriptors: (await readdir('/proc/self/fd')).length,
    sockets: await naming('/proc/net/unix'),
    folders: (await readdir(runtimeDir, { recursive: true })).length,
    processes: (await lines(`/proc/self/task/${process.pid}/children`)).join('').split(' ').filter(Boolean).length,
    mounts: await naming('/proc/self/mountinfo'),
    listeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
  };
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
