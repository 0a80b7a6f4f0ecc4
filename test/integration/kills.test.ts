import { afterEach, describe, expect, test, vi } from 'vitest';
import { killAtEveryChange, killAtRandom } from '../support/kills.js';
import { VMMS } from '../support/toy-vm.js';

/** Of QEMU, whose VMs take ten times as long, the rest is in the soak tests. */
const KILLS = { Firecracker: 200, 'smartvm-qemu': 25 } as Record<string, number>;
const LIMIT = 600_000;

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.skipIf(process.arch !== 'x64').each(VMMS)('a program with VMs on $name that is killed', (vmm) => {
  test(
    'before any change that it makes of the host loses nothing and leaves nothing',
    async () => {
      // From the directory over jail, keeper, boot and a snapshot to the last file that goes.
      const changes = await killAtEveryChange(vmm, (bench) => ({
        end: { snapshot: { snapshotPath: bench.scratch.file('state'), memFilePath: bench.scratch.file('memory') } },
      }));
      expect(changes).toBeGreaterThan(30);
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
