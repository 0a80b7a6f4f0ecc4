import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import * as jailed from '../support/jailed.js';

const MIB = 2 ** 20;

describe.skipIf(process.getuid?.() !== 0)('a launched Debian guest in its jail (needs root)', () => {
  let bench: Bench;
  let vm: MicroVM;
  let uid: number;

  beforeAll(async () => {
    bench = await openBench();
    vm = await bench.smartvm.launch({ memSizeMib: 256 });
    uid = await jailed.uidOf(vm);
  }, 300_000);

  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
  });

  it('is root inside, and a VMM of its own uid outside', async () => {
    expect((await vm.exec(['id', '-u'])).stdout).toBe('0\n');
    expect((await vm.exec('echo kept > /etc/kept && cat /etc/kept', { shell: true })).stdout).toBe('kept\n');
    expect(uid).toBeGreaterThanOrEqual(1_900_000_000);
    expect((await jailed.pidsOf(uid)).length).toBeGreaterThan(1);
  });

  it('never meets the limit of its memory, whatever it has QEMU translate', async () => {
    const work =
      'find /usr -type f -size -64k | head -2000 | xargs sha256sum | gzip | wc -c; head -c 100M /dev/zero > /dev/shm/x';
    expect((await vm.exec(work, { shell: true, timeoutMs: 100_000 })).exitCode).toBe(0);
    const { memory, v2 } = await jailed.cgroupsOf(vm.pid);
    const read = async (name: string) => (await readFile(`${memory ?? v2}/${name}`, 'utf8')).trim();
    expect(await read(memory ? 'memory.limit_in_bytes' : 'memory.max')).toBe(String((256 + 768) * MIB));
    // How often it wanted more, and something had to be given up for it.
    expect(memory ? await read('memory.failcnt') : /^max (\d+)$/m.exec(await read('memory.events'))?.[1]).toBe('0');
  });

  it('is shut down in order, and leaves nothing', async () => {
    expect(await vm.stop()).toEqual({ rung: 'guest' });
    expect(await jailed.pidsOf(uid)).toEqual([]);
    expect(await bench.leftovers()).toEqual([]);
  });
});
