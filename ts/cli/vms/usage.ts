import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VmRecord } from '../../vmm/registry/record.js';

/** What a VM has taken of the host so far, or has at the moment; null where the host does not say. */
export interface Usage {
  /** Of all processes of its VMM, in milliseconds. */
  readonly cpuMs: number;
  readonly memoryBytes: number;
  /** Of its cgroup; null without one. */
  readonly memoryLimitBytes: number | null;
  /** Processes and threads. */
  readonly tasks: number;
  /** As the guest sees it. */
  readonly network: Transfer | null;
  readonly block: Transfer | null;
}

/** In bytes. */
export interface Transfer {
  readonly in: number;
  readonly out: number;
}

/** The kernel counts times in these for programs, whatever it ticks by (time(7)). */
const USER_HZ = 100;
/** Version 1 says "no limit" by the greatest multiple of a page below 2^63. */
const NO_LIMIT_V1 = 2 ** 62;

/**
 * @param cgroups the VM's, in each hierarchy
 * @returns undefined when its VMM is gone
 */
export function usageOf(record: VmRecord, cgroups: readonly string[]): Usage | undefined {
  const pids = record.processes ? processTree(record.processes.vmm.pid) : [];
  const stats = pids.map(statOf).filter((stat) => stat !== undefined);
  if (stats.length === 0) {
    return undefined;
  }
  const cgroup = cgroups.map(memoryOf).find((memory) => memory !== undefined);
  return {
    cpuMs: sum(stats.map(({ cpuMs }) => cpuMs)),
    memoryBytes: cgroup?.usage ?? sum(pids.map(residentBytes)),
    memoryLimitBytes: cgroup?.limit ?? null,
    tasks: sum(stats.map(({ threads }) => threads)),
    network: networkOf(record),
    block: blockOf(pids),
  };
}

function processTree(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`)?.trim().split(' ').filter(Boolean).map(Number) ?? [];
  return [pid, ...children.flatMap(processTree)];
}

function statOf(pid: number): { cpuMs: number; threads: number } | undefined {
  const stat = read(`/proc/${pid}/stat`);
  // The command name (field 2) may hold spaces and parentheses: the fields are counted from its last ')'.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields === undefined || fields[0] === 'Z') {
    return undefined;
  }
  return { cpuMs: ((Number(fields[11]) + Number(fields[12])) * 1000) / USER_HZ, threads: Number(fields[17]) };
}

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1] ?? 0) * 1024;
}

/** How the versions of cgroups name what they say of memory. */
const MEMORY_FILES = [
  { usage: 'memory.current', limit: 'memory.max', inactive: /^inactive_file (\d+)$/m },
  { usage: 'memory.usage_in_bytes', limit: 'memory.limit_in_bytes', inactive: /^total_inactive_file (\d+)$/m },
] as const;

/** Of a cgroup that accounts for memory, without the files of which the kernel can let go at any moment. */
function memoryOf(cgroup: string): { usage: number; limit: number | null } | undefined {
  for (const files of MEMORY_FILES) {
    const usage = read(join(cgroup, files.usage));
    if (usage !== undefined) {
      const inactive = Number(files.inactive.exec(read(join(cgroup, 'memory.stat')) ?? '')?.[1] ?? 0);
      const limit = Number(read(join(cgroup, files.limit)));
      return { usage: Math.max(0, Number(usage) - inactive), limit: limit < NO_LIMIT_V1 ? limit : null };
    }
  }
  return undefined;
}

/** What goes out of a TAP comes to the guest. */
function networkOf({ config }: VmRecord): Transfer | null {
  const taps = (config.networkInterfaces ?? []).map(({ hostDevName }) => `/sys/class/net/${hostDevName}/statistics`);
  const [received, sent] = ['tx_bytes', 'rx_bytes'].map((name) => taps.map((tap) => read(join(tap, name))));
  return taps.length === 0 ? null : transfer(received, sent);
}

function blockOf(pids: readonly number[]): Transfer | null {
  const all = pids.map((pid) => read(`/proc/${pid}/io`));
  const [received, sent] = ['read', 'write'].map((name) =>
    all.map((io) => new RegExp(`^${name}_bytes: (\\d+)$`, 'm').exec(io ?? '')?.[1]),
  );
  return transfer(received, sent);
}

/** Null when some of it cannot be read: half a sum would be a wrong one. */
function transfer(received: (string | undefined)[] = [], sent: (string | undefined)[] = []): Transfer | null {
  const isWhole = ![...received, ...sent].includes(undefined);
  return isWhole ? { in: sum(received.map(Number)), out: sum(sent.map(Number)) } : null;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
