import { once } from 'node:events';
import { mkdir, readdir, symlink } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Holder } from '../../../../ts/util/holder.js';
import { currentProcess } from '../../../../ts/util/process-identity.js';
import { HostCapacity } from '../../../../ts/vmm/capacity/host-capacity.js';
import { openLeaseDirectory } from '../../../../ts/vmm/lease-directory.js';
import { until } from '../../../support/leftovers.js';
import { overcommitFor } from '../../../support/reserver.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';
import { closeServer } from '../../../support/unix-server.js';

const NOW = { queueMs: 0 };

function capacityOf(scratch: ScratchDirectory, mib = 10): HostCapacity {
  return new HostCapacity({ runtimeRoot: scratch.path, memoryOvercommit: overcommitFor(mib) });
}

async function holder(scratch: ScratchDirectory, id: string): Promise<Holder> {
  return { id, runtimeDir: scratch.file(id), owner: currentProcess() };
}

/** The reservation of a program that is dead by now. */
async function plant(scratch: ScratchDirectory, id: string, mib: number, part: Partial<Holder['owner']> = {}) {
  const owner = { ...currentProcess(), startTime: '1', ...part };
  const directory = await openLeaseDirectory('capacity', scratch.path);
  const ticket = process.hrtime.bigint();
  const content = JSON.stringify({ id, runtimeDir: scratch.file(id), owner });
  await symlink(content, join(directory, `${id}~${mib}~1~${ticket}~0~0${ticket % 10n}~claimed`));
}

/** What answers on a keeper's socket. */
async function keeperOf(scratch: ScratchDirectory, id: string): Promise<AsyncDisposable> {
  await mkdir(scratch.file(id), { recursive: true });
  const server = createServer((_request, response) => response.end('{}'));
  server.listen(scratch.file(id, 'keeper.sock'));
  await once(server, 'listening');
  return { [Symbol.asyncDispose]: () => closeServer(server, []) };
}

const entries = (scratch: ScratchDirectory) => readdir(scratch.file('.leases', 'capacity'));

describe('HostCapacity', () => {
  test('has by default the memory of the host and 64 virtual CPUs for each of its own', async () => {
    const { limits } = new HostCapacity();
    expect(limits.vcpus % 64).toBe(0);
    expect(new HostCapacity({ memoryOvercommit: 3, cpuOvercommit: 1 }).limits).toEqual({
      memoryMib: expect.closeTo(3 * limits.memoryMib, -1),
      vcpus: limits.vcpus / 64,
    });
  });

  test('gives what there is, refuses what there is not, and says who has it', async () => {
    await using scratch = await scratchDirectory();
    const capacity = capacityOf(scratch);
    const release = await capacity.reserve({ memoryMib: 6, vcpus: 1 }, await holder(scratch, 'a'), NOW);
    expect(await entries(scratch)).toEqual([expect.stringMatching(/^a~6~1~\d+~0~[0-9a-f]+~claimed$/)]);
    await expect(capacity.reserve({ memoryMib: 5, vcpus: 2 }, await holder(scratch, 'b'), NOW)).rejects.toMatchObject({
      code: 'CAPACITY_EXCEEDED',
      message: expect.stringMatching(
        /^VM b needs 5 MiB and 2 vCPUs with its VMM: of this host's 10 MiB and \d+ vCPUs, 4 MiB and \d+ vCPUs are free; taken by a \(6 MiB and 1 vCPU\)\. Stop .*'queueMs', or raise 'capacity\.memoryOvercommit'$/,
      ),
      details: { id: 'b', free: { memoryMib: 4 }, holders: [{ id: 'a', memoryMib: 6, vcpus: 1 }] },
    });
    await release();
    await release();
    expect(await entries(scratch)).toEqual([]);
    await (await capacity.reserve({ memoryMib: 10, vcpus: 1 }, await holder(scratch, 'c'), NOW))();
  });

  test('one VM of an id does not give back what another of that id has', async () => {
    await using scratch = await scratchDirectory();
    const capacity = capacityOf(scratch);
    const first = await capacity.reserve({ memoryMib: 5, vcpus: 1 }, await holder(scratch, 'a'), NOW);
    await first();
    const second = await capacity.reserve({ memoryMib: 5, vcpus: 1 }, await holder(scratch, 'a'), NOW);
    await first();
    expect(await entries(scratch)).toHaveLength(1);
    await second();
  });

  test.each([
    [{ memoryMib: 11, vcpus: 1 }, 'MEMORY_EXCEEDED'],
    [{ memoryMib: 1, vcpus: 1_000_000 }, 'CAPACITY_EXCEEDED'],
  ])('%j would never fit: %s at once, however long it would wait', async (amounts, code) => {
    await using scratch = await scratchDirectory();
    const asked = capacityOf(scratch).reserve(amounts, await holder(scratch, 'a'), { queueMs: 600_000 });
    await expect(asked).rejects.toMatchObject({ code });
    expect(await readdir(scratch.path)).toEqual([]);
  });

  test('one in line is refused when its time is over, and leaves nothing', async () => {
    await using scratch = await scratchDirectory();
    const capacity = capacityOf(scratch);
    const release = await capacity.reserve({ memoryMib: 6, vcpus: 1 }, await holder(scratch, 'a'), NOW);
    const begin = performance.now();
    const asked = capacity.reserve({ memoryMib: 5, vcpus: 1 }, await holder(scratch, 'b'), { queueMs: 200 });
    await expect(asked).rejects.toMatchObject({
      code: 'CAPACITY_EXCEEDED',
      message: expect.stringMatching(/has waited \d+ ms in line/),
    });
    expect(performance.now() - begin).toBeGreaterThanOrEqual(199);
    expect(await entries(scratch)).toHaveLength(1);
    await release();
  });

  test('one in line goes when its signal aborts, and leaves nothing', async () => {
    await using scratch = await scratchDirectory();
    const capacity = capacityOf(scratch);
    const release = await capacity.reserve({ memoryMib: 6, vcpus: 1 }, await holder(scratch, 'a'), NOW);
    const abort = new AbortController();
    const wait = { queueMs: 600_000, signal: abort.signal };
    const asked = capacity.reserve({ memoryMib: 5, vcpus: 1 }, await holder(scratch, 'b'), wait);
    const refused = expect(asked).rejects.toMatchObject({ code: 'CANCELED' });
    await until(
      async () => (await entries(scratch)).some((name) => name.endsWith('waiting')),
      5_000,
      'a place in line',
    );
    abort.abort();
    await refused;
    expect(await entries(scratch)).toHaveLength(1);
    await release();
  });

  test('a signal that had aborted: CANCELED, and nothing is made', async () => {
    await using scratch = await scratchDirectory();
    const wait = { queueMs: 0, signal: AbortSignal.abort() };
    const asked = capacityOf(scratch).reserve({ memoryMib: 5, vcpus: 1 }, await holder(scratch, 'a'), wait);
    await expect(asked).rejects.toMatchObject({ code: 'CANCELED' });
    expect(await readdir(scratch.path)).toEqual([]);
  });
});

describe('what a dead program has left', () => {
  const ask = async (scratch: ScratchDirectory) =>
    await capacityOf(scratch).reserve({ memoryMib: 8, vcpus: 1 }, await holder(scratch, 'new'), NOW);

  test('is given to who needs it', async () => {
    await using scratch = await scratchDirectory();
    await plant(scratch, 'dead', 6);
    await (await ask(scratch))();
    expect(await entries(scratch)).toEqual([]);
  });

  test("is its VM's as long as the keeper answers", async () => {
    await using scratch = await scratchDirectory();
    await plant(scratch, 'detached', 6);
    {
      await using _keeper = await keeperOf(scratch, 'detached');
      await expect(ask(scratch)).rejects.toMatchObject({ code: 'CAPACITY_EXCEEDED' });
    }
    await (await ask(scratch))();
  });

  test('is not kept by the keeper of the next VM of that id, nor by one after a reboot', async () => {
    await using scratch = await scratchDirectory();
    await plant(scratch, 'web', 6);
    await plant(scratch, 'web', 2);
    await plant(scratch, 'old', 6, { bootId: 'another' });
    await using _keeper = await keeperOf(scratch, 'web');
    await using _other = await keeperOf(scratch, 'old');
    const release = await ask(scratch);
    expect((await entries(scratch)).map((name) => name.split('~').slice(0, 2)).toSorted()).toEqual([
      ['new', '8'],
      ['web', '2'],
    ]);
    await release();
  });

  test('stays, and counts, when nothing can be said of its holder', async () => {
    await using scratch = await scratchDirectory();
    const directory = await openLeaseDirectory('capacity', scratch.path);
    await symlink('{}', join(directory, 'odd~6~1~1~0~00~claimed'));
    await expect(ask(scratch)).rejects.toMatchObject({ details: { holders: [{ id: 'odd' }] } });
    expect(await entries(scratch)).toHaveLength(1);
  });
});
