import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { currentProcess } from '../../ts/util/process-identity.js';
import { HostCapacity, type Release } from '../../ts/vmm/capacity/host-capacity.js';
import { until } from '../support/leftovers.js';
import { overcommitFor, Reserver } from '../support/reserver.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';

const entriesOf = async (scratch: ScratchDirectory) => await readdir(scratch.file('.leases', 'capacity'));

const inLine = (scratch: ScratchDirectory, id: string) =>
  until(
    async () => (await entriesOf(scratch)).some((name) => name.startsWith(`${id}~`) && name.endsWith('~waiting')),
    10_000,
    `${id} in line`,
  );

async function programs(scratch: ScratchDirectory, count: number, mib: number): Promise<Reserver[]> {
  return await Promise.all(Array.from({ length: count }, () => Reserver.start(scratch.path, mib)));
}

async function reserveHere(
  scratch: ScratchDirectory,
  limitMib: number,
  id: string,
  mib: number,
  queueMs = 0,
): Promise<Release> {
  const capacity = new HostCapacity({ runtimeRoot: scratch.path, memoryOvercommit: overcommitFor(limitMib) });
  const holder = { id, runtimeDir: scratch.file(id), owner: currentProcess() };
  return await capacity.reserve({ memoryMib: mib, vcpus: 1 }, holder, { queueMs });
}

describe('programs that share the capacity of a host', () => {
  test('ask all at once: as many as fit are admitted, not one more or less', async () => {
    await using scratch = await scratchDirectory();
    const all = await programs(scratch, 4, 20);
    try {
      const asked = all.flatMap((program, p) =>
        Array.from({ length: 12 }, (_, n) => program.tell({ do: 'reserve', id: `p${p}-${n}`, mib: 1 })),
      );
      const codes = (await Promise.all(asked)).map(({ code }) => code ?? 'admitted');
      expect(codes.filter((code) => code === 'admitted')).toHaveLength(20);
      expect(codes.filter((code) => code === 'CAPACITY_EXCEEDED')).toHaveLength(28);
      expect((await entriesOf(scratch)).filter((name) => name.endsWith('~claimed'))).toHaveLength(20);
      expect(await entriesOf(scratch)).toHaveLength(20);
    } finally {
      await Promise.all(all.map((program) => program.kill()));
    }
  });

  test('come and go: never is more taken than there is, everybody has a turn, and nothing is left', async () => {
    await using scratch = await scratchDirectory();
    const [limit, count] = [16, 30];
    const log = scratch.file('log');
    const all = await programs(scratch, 3, limit);
    try {
      const answers = await Promise.all(
        all.map((program, p) => program.tell({ do: 'storm', id: `p${p}`, count, log, queueMs: 60_000 })),
      );
      expect(answers).toEqual(all.map((_, p) => ({ id: `p${p}` })));
      const changes = (await readFile(log, 'utf8')).trimEnd().split('\n').map(Number);
      expect(changes).toHaveLength(all.length * count * 2);
      let [taken, most] = [0, 0];
      for (const change of changes) {
        taken += change;
        most = Math.max(most, taken);
      }
      expect(taken).toBe(0);
      expect(most).toBeLessThanOrEqual(limit);
      expect(most).toBeGreaterThan(limit / 2); // else they were never in each other's way
      expect(await entriesOf(scratch)).toEqual([]);
    } finally {
      await Promise.all(all.map((program) => program.kill()));
    }
  });

  test('wait in the order in which they came, also who would fit before', async () => {
    await using scratch = await scratchDirectory();
    const [first, second] = (await programs(scratch, 2, 10)) as [Reserver, Reserver];
    const admitted: string[] = [];
    const ask = async (program: Reserver, id: string, mib: number) => {
      const answer = program.tell({ do: 'reserve', id, mib, queueMs: 60_000 }).then(({ code }) => {
        admitted.push(code ?? id);
      });
      await inLine(scratch, id);
      return { answer };
    };
    try {
      const releaseSix = await reserveHere(scratch, 10, 'six', 6);
      const releaseTwo = await reserveHere(scratch, 10, 'two', 2);
      const big = await ask(first, 'big', 8);
      const small = await ask(second, 'small', 1);
      const last = await ask(first, 'last', 9);
      await expect(reserveHere(scratch, 10, 'hasty', 1)).rejects.toMatchObject({
        code: 'CAPACITY_EXCEEDED',
        details: { waitingBefore: 3, free: { memoryMib: 2 } },
      });
      await releaseSix();
      await big.answer;
      await releaseTwo();
      await small.answer;
      expect(admitted).toEqual(['big', 'small']);
      await first.tell({ do: 'release', id: 'big' });
      await last.answer;
      expect(admitted).toEqual(['big', 'small', 'last']);
    } finally {
      await first.kill();
      await second.kill();
    }
  });

  test('one that is killed gives back what it had, to those in line too', async () => {
    await using scratch = await scratchDirectory();
    await using holder = await Reserver.start(scratch.path, 10);
    expect(await holder.tell({ do: 'reserve', id: 'held', mib: 8 })).toEqual({ id: 'held' });
    await expect(reserveHere(scratch, 10, 'refused', 4)).rejects.toMatchObject({
      code: 'CAPACITY_EXCEEDED',
      details: { holders: [{ id: 'held', memoryMib: 8, vcpus: 1 }] },
    });
    const waiting = reserveHere(scratch, 10, 'next', 4, 60_000);
    await inLine(scratch, 'next');
    await holder.kill();
    await (await waiting)();
    expect(await entriesOf(scratch)).toEqual([]);
  });

  test('one that is killed in line holds nobody up', async () => {
    await using scratch = await scratchDirectory();
    await using waiter = await Reserver.start(scratch.path, 10);
    const release = await reserveHere(scratch, 10, 'holder', 8);
    void waiter.tell({ do: 'reserve', id: 'big', mib: 10, queueMs: 600_000 });
    await inLine(scratch, 'big');
    const behind = reserveHere(scratch, 10, 'behind', 2, 60_000);
    await inLine(scratch, 'behind');
    await waiter.kill();
    await (await behind)();
    await release();
    expect(await entriesOf(scratch)).toEqual([]);
  });

  test('one that is stopped in line holds nobody up for longer than it said it would wait', async () => {
    await using scratch = await scratchDirectory();
    await using waiter = await Reserver.start(scratch.path, 10);
    const release = await reserveHere(scratch, 10, 'holder', 8);
    const answer = waiter.tell({ do: 'reserve', id: 'big', mib: 10, queueMs: 1_500 });
    // One that is stopped while it looks whether it fits has claimed its part.
    const waitsAlone = async () => (await entriesOf(scratch)).filter((name) => name.startsWith('big~')).length === 1;
    await until(async () => await waitsAlone(), 30_000, 'big to wait');
    await inLine(scratch, 'big');
    waiter.signal('SIGSTOP');
    const behind = await reserveHere(scratch, 10, 'behind', 2, 60_000);
    waiter.signal('SIGCONT');
    expect(await answer).toMatchObject({ code: 'CAPACITY_EXCEEDED', message: expect.stringContaining('in line') });
    await behind();
    await release();
    expect(await entriesOf(scratch)).toEqual([]);
  });
});

describe('programs that take leases of one directory', () => {
  test('of those who find the same dead holder, one takes its place', async () => {
    await using scratch = await scratchDirectory();
    const directory = scratch.path;
    const candidates = ['a', 'b', 'c'];
    const [dead, ...others] = (await programs(scratch, 4, 1)) as [Reserver, ...Reserver[]];
    try {
      const take = (program: Reserver, id: string) => program.tell({ do: 'lease', id, directory, candidates });
      expect((await Promise.all(candidates.map((id) => take(dead, id)))).map(({ lease }) => lease).toSorted()).toEqual(
        candidates,
      );
      await dead.kill();
      const taken = await Promise.all(
        others.flatMap((program, p) => [take(program, `p${p}-0`), take(program, `p${p}-1`)]),
      );
      const leases = taken.map(({ lease }) => lease);
      expect(leases.filter((name) => name !== undefined).toSorted()).toEqual(candidates);
      expect(leases.filter((name) => name === undefined)).toHaveLength(3);
    } finally {
      await Promise.all([dead, ...others].map((program) => program.kill()));
    }
  });
});
