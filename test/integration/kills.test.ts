import { describe, expect, test } from 'vitest';
import { SmartVM } from '../../ts/smartvm.js';
import { killAtEveryChange, killAtRandom } from '../support/kills.js';
import type { ManagerBench } from '../support/manager.js';
import { VMMS } from '../support/toy-vm.js';

/** Of QEMU, whose VMs take ten times as long, the rest is in the soak tests. */
const KILLS = { Firecracker: 200, 'smartvm-qemu': 15 } as Record<string, number>;
/** For what hangs: on a machine that is busy, a kill takes seconds. */
const LIMIT = 1_800_000;

const endIn = ({ scratch }: ManagerBench) => ({
  snapshot: { snapshotPath: scratch.file('state'), memFilePath: scratch.file('memory') },
});

describe.skipIf(process.arch !== 'x64').each(VMMS)('a program with VMs on $name that is killed', (vmm) => {
  test(
    'before any change that it makes of the host loses nothing and leaves nothing',
    async () => {
      // From the directory over jail, keeper, boot and a snapshot to the last file that goes.
      const changes = await killAtEveryChange(vmm, async (bench, config) => ({ configs: [config], end: endIn(bench) }));
      expect(changes).toBeGreaterThan(30);
    },
    LIMIT,
  );

  test(
    'before any change that it makes of the VM of another, to which it has attached, leaves nothing',
    async () => {
      const changes = await killAtEveryChange(vmm, async (bench, config) => {
        await using smartvm = new SmartVM(bench.options); // lets go of it
        const vm = await smartvm.createVM(config, { detached: true });
        await vm.start();
        return { attached: [vm.id], end: endIn(bench) };
      });
      expect(changes).toBeGreaterThan(10);
    },
    LIMIT,
  );

  test(
    'at any moment loses nothing and leaves nothing',
    async () => {
      await killAtRandom(vmm, KILLS[vmm.name] ?? 0, 20_260_101);
    },
    LIMIT,
  );
});
