import type { Machine } from '../machine/machine.js';
import type { VmResources } from '../resources/resources.js';
import type { MetricValues } from '../telemetry/metrics.js';

type Totals = Readonly<Record<string, number>>;

/** A reader of what the drives have done since it was last asked: each under its own name, and their sum. */
export function deviceMetrics({ drives }: VmResources, machine: Machine): () => Promise<MetricValues> {
  let before: readonly Totals[] = [];
  return async () => {
    // A machine that has ended has nothing more to tell.
    const now: readonly Totals[] = await machine.drives.stats(drives.all.length).catch(() => before);
    const values: Record<string, Totals> = {};
    let sum: Totals = {};
    for (const [index, totals] of now.entries()) {
      const difference = combined(totals, before[index] ?? {}, (a, b) => a - b);
      values[`block_${drives.all[index]?.id}`] = difference;
      sum = combined(difference, sum, (a, b) => a + b);
    }
    before = now;
    return { ...values, block: sum };
  };
}

function combined(a: Totals, b: Totals, combine: (a: number, b: number) => number): Totals {
  return Object.fromEntries(Object.entries(a).map(([field, value]) => [field, combine(value, b[field] ?? 0)]));
}
