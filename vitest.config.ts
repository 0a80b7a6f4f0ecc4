import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { SlowestFirst } from './test/support/slowest-first.js';

/** Vitest's own number leaves a CPU idle, which is half of a small machine; and each file of `integration` boots guests. */
const maxWorkers = Math.max(2, Math.floor(availableParallelism() / 2));

export default defineConfig({
  test: {
    projects: [
      {
        // The limit is for what hangs, not for what is slow on a busy machine.
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], maxWorkers, testTimeout: 60_000 },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          globalSetup: 'test/support/host-network.ts',
          maxWorkers,
          testTimeout: 240_000,
          hookTimeout: 240_000,
          // No test changes the network of the machine that it runs on.
          env: { SMARTVM_NETWORK: 'none' },
        },
      },
      { test: { name: 'soak', include: ['test/soak/**/*.test.ts'], fileParallelism: false } },
    ],
    sequence: { sequencer: SlowestFirst },
    retry: 0,
  },
});
