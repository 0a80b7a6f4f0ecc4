/** Runs of the two sides of a comparison, in milliseconds. */
export interface Comparison {
  readonly name: string;
  readonly ours: readonly number[];
  readonly baseline: { readonly name: string; readonly times: readonly number[] };
}

/** By nearest rank: a time that was measured, not one in between. */
export function percentile(times: readonly number[], percent: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export function print({ name, ours, baseline }: Comparison): void {
  const rows = { [name]: ours, [baseline.name]: baseline.times };
  const width = Math.max(...Object.keys(rows).map((label) => label.length));
  for (const [label, times] of Object.entries(rows)) {
    const [p50, p90] = [50, 90].map((percent) => `p${percent} ${percentile(times, percent).toFixed(0)} ms`);
    console.log(`${label.padEnd(width)}  ${p50}  ${p90}  (${times.length} runs)`);
  }
  const [p50, p90] = [50, 90].map((percent) => percentile(ours, percent) / percentile(baseline.times, percent));
  console.log(`${'ratio'.padEnd(width)}  p50 ${p50?.toFixed(2)}  p90 ${p90?.toFixed(2)}\n`);
}
