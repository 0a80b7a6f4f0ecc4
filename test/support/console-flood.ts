import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { until } from './leftovers.js';

const MAX_CONSOLE_BYTES = 2 * 1024 * 1024;
/** For what hangs. */
const LIMIT = 300_000;

/**
 * Has a guest write to its console without a break, until at least `ms` have gone by and its log has been begun anew. Meanwhile commands
 * run in it, and the log stays within its bounds; then the guest is as before.
 */
export async function expectFloodToBeBorne(vm: MicroVM, runtimeDir: string, ms: number): Promise<void> {
  const files = ['console.log', 'console.log.1'].map((name) => join(runtimeDir, vm.id, name));
  const sizes = async () =>
    await Promise.all(
      files.map(
        async (path) =>
          await stat(path).then(
            ({ size }) => size,
            () => 0,
          ),
      ),
    );
  const begin = performance.now();
  const flood = await vm.spawn(['sh', '-c', `exec yes ${'flood '.repeat(20)} > /dev/console`]);
  let [turns, most] = [0, 0];
  const isOver = async () => {
    expect((await vm.exec(['echo', `${turns}`], { timeoutMs: LIMIT })).stdout).toBe(`${turns++}\n`);
    const [current = 0, before = 0] = await sizes();
    most = Math.max(most, current + before);
    return before > 0 && performance.now() - begin >= ms;
  };
  await until(isOver, LIMIT, 'the log begun anew');
  flood.kill('SIGKILL');
  flood.stdout.resume();
  flood.stderr.resume();
  expect(await flood.wait()).toEqual({ exitCode: null, signal: 'SIGKILL' });
  expect(most).toBeLessThanOrEqual(MAX_CONSOLE_BYTES);
  expect(turns).toBeGreaterThan(1);
  expect((await vm.consoleTail()).at(-1)).toMatch(/flood/);
}
