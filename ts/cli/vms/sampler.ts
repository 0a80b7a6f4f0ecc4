import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { cgroupsNamed } from '../../vmm/jail/cgroups.js';
import { type MetricsSample, parseMetrics } from '../../vmm/metrics.js';
import type { VmRecord } from '../../vmm/registry/record.js';
import { readRecord } from '../../vmm/registry/record-file.js';
import type { ListedVm } from './list.js';
import { type Sample, type StatsRow, statsRow } from './stats-row.js';
import { usageOf } from './usage.js';

/** A flush of the metrics is a line, and a long one has some 20 KB. */
const METRICS_TAIL_BYTES = 65_536;

interface Known {
  readonly record: VmRecord;
  readonly cgroups: readonly string[];
  last: Sample | undefined;
}

/** What VMs take of the host, sample by sample. */
export class Sampler {
  readonly #known = new Map<string, Known>();

  /** The rows of VMs that are there still. */
  async rows(vms: readonly ListedVm[]): Promise<StatsRow[]> {
    const rows = await Promise.all(vms.map((vm) => this.#row(vm)));
    return rows.filter((row) => row !== undefined);
  }

  async #row({ id, runtimeDir, status, record: { createdAt } }: ListedVm): Promise<StatsRow | undefined> {
    let known = this.#known.get(id);
    // One that is being started has no processes yet, and of one id there may be one VM after the other.
    if (!known?.record.processes || known.record.createdAt !== createdAt) {
      const record = await readRecord(runtimeDir, id).catch(() => undefined);
      if (!record) {
        return undefined;
      }
      const { cgroup } = record.journal;
      known = { record, cgroups: cgroup === undefined ? [] : await cgroupsNamed(cgroup), last: undefined };
      this.#known.set(id, known);
    }
    const { record, last, cgroups } = known;
    const isAlive = status !== 'exited';
    const sample = { usage: isAlive ? usageOf(record, cgroups) : undefined, atMs: performance.now() };
    known.last = sample;
    return statsRow(record, status, sample, last, isAlive ? await lastMetrics(record) : undefined);
  }
}

/** The last whole line of a metrics file. A FIFO has each line once: who reads it here would take it from others. */
async function lastMetrics({ config }: VmRecord): Promise<MetricsSample | undefined> {
  const path = config.metrics?.metricsPath;
  // Never waits: opening a FIFO without a writer would.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK;
  const file = path === undefined ? undefined : await open(path, flags).catch(() => undefined);
  try {
    const stat = await file?.stat();
    if (!file || !stat?.isFile()) {
      return undefined;
    }
    const length = Math.min(stat.size, METRICS_TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, stat.size - length);
    const lines = buffer.toString('utf8', 0, bytesRead).split('\n').slice(0, -1);
    return parseMetrics(lines.at(-1) ?? '');
  } finally {
    await file?.close();
  }
}
