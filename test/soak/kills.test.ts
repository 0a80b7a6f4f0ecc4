import { describe, test } from 'vitest';
import { killAtRandom } from '../support/kills.js';
import { VMMS } from '../support/toy-vm.js';

describe.skipIf(process.arch !== 'x64').each(VMMS)('a program with VMs on $name', (vmm) => {
  test('that is killed at 200 moments loses nothing and leaves nothing', async () => {
    await killAtRandom(vmm, 200, 20_260_101);
  }, 3_600_000);
});
