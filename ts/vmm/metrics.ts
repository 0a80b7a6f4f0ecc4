/** Least, greatest and sum of the durations of one kind of event, in microseconds. */
export interface LatencyAggregate {
  readonly min_us: number;
  readonly max_us: number;
  readonly sum_us: number;
}

/** Metrics of one part of the VMM by their names in Firecracker. Counters count from the flush before. */
export type MetricsGroup = Readonly<Record<string, number | LatencyAggregate | undefined>>;

/** What the VMM wrote in one flush. */
export interface MetricsSample {
  /** When, in milliseconds since the epoch, by the host's clock. */
  readonly timestampMs: number;
  /** The VM's id, where `metrics.emitId` asks for it. */
  readonly id?: string;
  /** What `metrics.properties` gave. */
  readonly properties?: Readonly<Record<string, string>>;
  /** By Firecracker's names, of the devices too: `vcpu`, `block`, `block_rootfs`, `net_eth0`, `balloon`, `vmm` … */
  readonly groups: Readonly<Record<string, MetricsGroup>>;
}

/** Reads a line of metrics; undefined for one that was cut or is none. Groups that newer VMMs have are taken over. */
export function parseMetrics(line: string): MetricsSample | undefined {
  const fields = parseObject(line);
  if (typeof fields?.utc_timestamp_ms !== 'number') {
    return undefined;
  }
  const { utc_timestamp_ms: timestampMs, id, properties, ...rest } = fields;
  const groups = Object.entries(rest).filter(([, value]) => typeof value === 'object' && value !== null);
  return {
    timestampMs,
    ...(typeof id === 'string' ? { id } : {}),
    ...(typeof properties === 'object' ? { properties: properties as Record<string, string> } : {}),
    groups: Object.fromEntries(groups) as Record<string, MetricsGroup>,
  };
}

function parseObject(line: string): (Record<string, unknown> & { utc_timestamp_ms?: unknown }) | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
