import { createHash, randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { delay } from '../../ts/util/deadline.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { until } from './leftovers.js';

const MIB = 1024 * 1024;
/** What is random is repeated: the guest's memory has to hold it. */
const BLOCK_MIB = 4;
/** Of all that is on its way: windows of SSH and buffers of sockets. */
const MAX_UNDERWAY = 32 * MIB;
const MAX_GROWTH = 64 * MIB;
/** After each MiB. */
const SLEEP_MS = 5;
/** For what hangs. */
const LIMIT = 60_000;

/**
 * Takes so many MiB of random bytes out of a guest by a reader that sleeps: first until the guest can write no more, then again and
 * again. They come whole, the guest's process waits, and this program does not take them into its memory.
 */
export async function expectSlowReading(vm: MicroVM, mib: number): Promise<void> {
  const block = randomBytes(BLOCK_MIB * MIB);
  await vm.exec('cat > /dev/shm/block', { shell: true, stdin: block, reject: true });
  const expected = createHash('sha256');
  for (let count = 0; count < mib / BLOCK_MIB; count++) {
    expected.update(block);
  }
  const script = `exec cat $(yes /dev/shm/block | head -n ${mib / BLOCK_MIB})`;
  const child = await vm.spawn(['sh', '-c', script], { stdin: 'ignore' });
  child.stderr.resume();
  const before = process.memoryUsage.rss();
  expect(await heldUp(vm, child.pid)).toBeLessThan(MAX_UNDERWAY);
  const hash = createHash('sha256');
  let [bytes, slept, most] = [0, 0, before];
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    hash.update(chunk);
    most = Math.max(most, process.memoryUsage.rss());
    if (bytes - slept >= MIB) {
      slept = bytes;
      await delay(SLEEP_MS);
    }
  }
  expect(bytes).toBe(mib * MIB);
  expect(hash.digest('hex')).toBe(expected.digest('hex'));
  expect(await child.wait()).toEqual({ exitCode: 0, signal: null });
  await vm.exec(['rm', '/dev/shm/block'], { reject: true });
  expect(most - before).toBeLessThan(MAX_GROWTH);
}

/** Waits until a process can write no more, and gives what it has written. */
async function heldUp(vm: MicroVM, pid: number): Promise<number> {
  let [before, now] = [-1, -1];
  const isStill = async () => {
    before = now;
    const { stdout } = await vm.exec(['cat', `/proc/${pid}/io`], { reject: true });
    now = Number(/^wchar: (\d+)$/m.exec(stdout)?.[1]);
    return now === before && now >= MIB;
  };
  await until(isStill, LIMIT, 'the end of its writing');
  return now;
}
