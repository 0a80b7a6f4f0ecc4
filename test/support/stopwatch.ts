import { readFileSync } from 'node:fs';

/**
 * Begins to measure how long something takes.
 * @returns the milliseconds since then, less those in which some process of the host waited for a CPU or a disk: on a machine that
 * is busy with other things these say nothing about SmartVM
 */
export function stopwatch(): () => number {
  const now = () => performance.now() - stalledMs('cpu') - stalledMs('io');
  const begin = now();
  return () => now() - begin;
}

/** By the kernel's accounting of pressure, where there is one. */
function stalledMs(resource: string): number {
  try {
    const some = /^some .* total=(\d+)$/m.exec(readFileSync(`/proc/pressure/${resource}`, 'utf8'));
    return Number(some?.[1] ?? 0) / 1_000;
  } catch {
    return 0;
  }
}
