import { readdir } from 'node:fs/promises';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SmartVM } from '../../ts/smartvm.js';
import { demandOf } from '../../ts/vmm/capacity/demand.js';
import { findVmm } from '../../ts/vmm/find.js';
import { requireKeeper } from '../support/keeper-bench.js';
import { overcommitFor } from '../support/reserver.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';
import { compileToyGuest } from '../support/toy-guest.js';
import { VMMS } from '../support/toy-vm.js';

beforeAll(requireKeeper);
afterEach(() => void vi.unstubAllEnvs());

const reserved = async (scratch: ScratchDirectory) =>
  (await readdir(scratch.file('.leases', 'capacity'))).map((name) => name.split('~')[0]);

describe.skipIf(process.arch !== 'x64').each(VMMS)('VMs of $name on a host with room for one', ({ path }) => {
  test('wait for each other, and give their place back however they end', async () => {
    await using scratch = await scratchDirectory();
    vi.stubEnv('SMARTVM_RUNTIME_DIR', scratch.path);
    await compileToyGuest(scratch.file('toy'));
    const { kind } = await findVmm({ firecrackerBinaryPath: path });
    const { memoryMib } = await demandOf({ config: { machineConfig: { memSizeMib: 64 } } }, kind);
    const options = { firecrackerBinaryPath: path, capacity: { memoryOvercommit: overcommitFor(1.5 * memoryMib) } };
    await using one = new SmartVM(options);
    await using other = new SmartVM(options);
    const create = async (smartvm: SmartVM, id: string) => {
      const config = { id, bootSource: { kernelImagePath: scratch.file('toy') }, machineConfig: { memSizeMib: 64 } };
      return await smartvm.createVM(config);
    };
    const first = await create(one, 'first');
    await first.start();
    expect(await reserved(scratch)).toEqual(['first']);

    const refused = await create(other, 'refused');
    await expect(refused.start()).rejects.toMatchObject({
      code: 'CAPACITY_EXCEEDED',
      details: { holders: [{ id: 'first', vcpus: 1 }] },
    });
    const second = await create(other, 'second');
    const starting = second.start({ queueMs: 60_000 });
    process.kill(first.pid, 'SIGKILL');
    await starting;
    expect(await reserved(scratch)).toEqual(['second']);
    await second.stop({ graceMs: 300 });
    expect(await reserved(scratch)).toEqual([]);
  });
});
