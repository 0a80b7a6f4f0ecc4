import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        // The limit is for what hangs, not for what is slow on a busy machine.
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 60_000 },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          globalSetup: 'test/support/host-network.ts',
          // Each file boots guests: side by side on a small machine they would measure each other.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // No test changes the network of the machine that it runs on.
          env: { SMARTVM_NETWORK: 'none' },
        },
      },
      { test: { name: 'soak', include: ['test/soak/**/*.test.ts'], fileParallelism: false } },
    ],
    retry: 0,
  },
});
