import { test } from 'vitest';
import { expectNoGrowth } from '../support/cycles.js';
import { VMMS, type VmmAtHand } from '../support/toy-vm.js';

const CYCLES = 10_000;

test.skipIf(process.arch !== 'x64')(
  `making and ending ${CYCLES} VMs leaves nothing that grows`,
  async () => {
    const resident = await expectNoGrowth(VMMS.at(-1) as VmmAtHand, CYCLES, 500);
    console.log(`resident memory in MiB: ${resident}`);
  },
  4 * 3_600_000,
);
