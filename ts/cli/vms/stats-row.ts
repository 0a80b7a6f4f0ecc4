import type { MetricsSample } from '../../vmm/metrics.js';
import type { VmRecord } from '../../vmm/registry/record.js';
import type { StatusWord } from './list.js';
import { SGR } from './style.js';
import type { Column } from './table.js';
import type { Transfer, Usage } from './usage.js';
import { bytesInWords } from './words.js';

/** What `stats` shows of a VM; what there is not is null, so that every row has every field. */
export interface StatsRow {
  /** ISO 8601. */
  readonly time: string;
  readonly id: string;
  readonly name: string | null;
  readonly state: StatusWord;
  /** Since the sample before; 100 is one CPU of the host. */
  readonly cpuPercent: number | null;
  readonly cpus: number | null;
  /** Of the VMM, with what its guest has touched of its memory. */
  readonly memoryBytes: number | null;
  /** Of its cgroup; without one, the memory that the guest has been given. */
  readonly memoryLimitBytes: number | null;
  readonly memoryPercent: number | null;
  readonly network: Transfer | null;
  readonly block: Transfer | null;
  readonly tasks: number | null;
  /** What the VMM last wrote to its metrics, where they go to a file. */
  readonly metrics: MetricsSample | null;
}

export interface Sample {
  readonly usage: Usage | undefined;
  readonly atMs: number;
}

export function statsRow(
  record: VmRecord,
  state: StatusWord,
  { usage, atMs }: Sample,
  before: Sample | undefined,
  metrics: MetricsSample | undefined,
): StatsRow {
  const { memSizeMib, vcpuCount } = record.config.machineConfig ?? {};
  const limit = usage?.memoryLimitBytes ?? (memSizeMib === undefined ? null : memSizeMib * 2 ** 20);
  const passed = before?.usage && usage ? atMs - before.atMs : 0;
  return {
    time: new Date().toISOString(),
    id: record.id,
    name: record.name ?? null,
    state,
    cpuPercent: passed > 0 ? rounded(((usage?.cpuMs ?? 0) - (before?.usage?.cpuMs ?? 0)) / passed) : null,
    cpus: vcpuCount ?? null,
    memoryBytes: usage?.memoryBytes ?? null,
    memoryLimitBytes: limit,
    memoryPercent: usage && limit ? rounded(usage.memoryBytes / limit) : null,
    network: usage?.network ?? null,
    block: usage?.block ?? null,
    tasks: usage?.tasks ?? null,
    metrics: metrics ?? null,
  };
}

/** Hundredths of a percent. */
function rounded(part: number): number {
  return Math.max(0, Math.round(part * 10_000) / 100);
}

const NOTHING = '--';
/** More than this of all that it may have is worth a look. */
const MUCH_PERCENT = 90;

export const STATS_COLUMNS: readonly Column<StatsRow>[] = [
  { title: 'VM ID', text: ({ id }) => id },
  { title: 'NAME', text: ({ name }) => name ?? '' },
  { title: 'CPU %', text: ({ cpuPercent }) => percent(cpuPercent), right: true },
  {
    title: 'MEM USAGE / LIMIT',
    text: ({ memoryBytes, memoryLimitBytes }) => `${bytes(memoryBytes)} / ${bytes(memoryLimitBytes)}`,
  },
  {
    title: 'MEM %',
    text: ({ memoryPercent }) => percent(memoryPercent),
    color: ({ memoryPercent }) => ((memoryPercent ?? 0) > MUCH_PERCENT ? SGR.yellow : undefined),
    right: true,
  },
  { title: 'NET I/O', text: ({ network }) => transferred(network) },
  { title: 'BLOCK I/O', text: ({ block }) => transferred(block) },
  { title: 'TASKS', text: ({ tasks }) => String(tasks ?? NOTHING), right: true },
];

function percent(value: number | null): string {
  return value === null ? NOTHING : `${value.toFixed(2)}%`;
}

function bytes(value: number | null): string {
  return value === null ? NOTHING : bytesInWords(value);
}

function transferred(transfer: Transfer | null): string {
  return transfer === null ? NOTHING : `${bytesInWords(transfer.in)} / ${bytesInWords(transfer.out)}`;
}
