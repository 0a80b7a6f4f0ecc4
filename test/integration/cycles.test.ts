import { test } from 'vitest';
import { expectNoGrowth } from '../support/cycles.js';
import { VMMS, type VmmAtHand } from '../support/toy-vm.js';

// The fastest VMM at hand: what this program has of a VM is the same for all. 10,000 of them are among the soak tests.
const VMM = VMMS.at(-1) as VmmAtHand;
const CYCLES = VMM.name === 'Firecracker' ? 300 : 50;

test.skipIf(process.arch !== 'x64')(
  `making and ending ${CYCLES} VMs leaves nothing that grows`,
  async () => {
    await expectNoGrowth(VMM, CYCLES, 20);
  },
  900_000,
);
