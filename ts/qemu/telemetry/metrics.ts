import type { Metrics as MetricsConfig } from '../api/device-bodies.js';
import { sortedKeys } from '../api/json-value.js';
import { Fault, osErrorText } from '../fault.js';
import { openNonblocking } from '../resources/serial.js';
import { LineSink } from './line-sink.js';
import { METRICS_SCHEMA } from './metrics-schema.js';

const PERIOD_MS = 60_000;

type Group = keyof typeof METRICS_SCHEMA;
/** Values for fields of some groups, and for groups that a device brings along, as `block_root`. */
export type MetricValues = Readonly<Record<string, Readonly<Record<string, number>>>>;

/**
 * The metrics: a line of JSON in Firecracker's schema when the VM starts, every minute, on FlushMetrics and at the end. Counters count from the last
 * line on; times are the last ones measured. What QEMU does not tell stays zero.
 */
export class Metrics {
  readonly #id: string;
  readonly #counters = new Map<string, Map<string, number>>();
  readonly #gauges = new Map<string, Map<string, number>>();
  #sink: LineSink | undefined;
  #fixed: Record<string, unknown> = {};
  #timer: NodeJS.Timeout | undefined;
  #devices: () => Promise<MetricValues> = async () => ({});

  constructor(id: string) {
    this.#id = id;
  }

  /** Can be done once. @throws Fault */
  async configure(config: MetricsConfig): Promise<void> {
    const refusal = 'Metrics error: Cannot initialize the metrics system due to bad user input:';
    const file = await openNonblocking(config.metrics_path).catch((cause) => {
      throw new Fault(`${refusal} ${osErrorText(cause)}`);
    });
    if (this.#sink) {
      await file.close();
      throw new Fault(`${refusal} Reinitialization of metrics not allowed.`);
    }
    this.#sink = new LineSink(file);
    const properties = config.properties;
    this.#fixed = {
      ...(config.emit_id ? { id: this.#id } : {}),
      ...(properties
        ? { properties: Object.fromEntries(sortedKeys(properties).map((key) => [key, properties.get(key)])) }
        : {}),
    };
  }

  count(group: Group, field: string, by = 1): void {
    add(this.#counters, group, field, by);
  }

  /** A time that was measured, from a start of `performance.now()`. @returns the microseconds since then */
  took(field: keyof typeof METRICS_SCHEMA.latencies_us, startMs: number): number {
    const us = Math.round((performance.now() - startMs) * 1000);
    this.#gauges.set('latencies_us', new Map(this.#gauges.get('latencies_us')).set(field, us));
    return us;
  }

  /** The VM runs: writes now and every minute. @param devices what the devices have counted since it was last asked */
  async start(devices: () => Promise<MetricValues>): Promise<void> {
    this.#devices = devices;
    this.#timer = setInterval(() => void this.flush(), PERIOD_MS).unref();
    await this.flush();
  }

  /** The last line. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  async flush(): Promise<void> {
    if (!this.#sink) {
      return;
    }
    for (const [group, fields] of Object.entries(await this.#devices())) {
      for (const [field, value] of Object.entries(fields)) {
        add(this.#counters, group, field, value);
      }
    }
    const line = { utc_timestamp_ms: Date.now(), ...this.#fixed, ...this.#values() };
    this.#counters.clear();
    if (!this.#sink.write(`${JSON.stringify(line)}\n`)) {
      this.count('logger', 'missed_metrics_count');
    }
  }

  #values(): Record<string, object> {
    const values: Record<string, object> = { ...METRICS_SCHEMA };
    for (const [group, fields] of [...this.#counters, ...this.#gauges]) {
      values[group] = { ...templateOf(group), ...values[group], ...Object.fromEntries(fields) };
    }
    return values;
  }
}

/** A group of one device, as `net_eth0`, has the fields of its kind. */
function templateOf(group: string): object {
  return METRICS_SCHEMA[group.split('_')[0] as Group] ?? {};
}

function add(counters: Map<string, Map<string, number>>, group: string, field: string, by: number): void {
  const fields = counters.get(group) ?? new Map<string, number>();
  fields.set(field, (fields.get(field) ?? 0) + by);
  counters.set(group, fields);
}
