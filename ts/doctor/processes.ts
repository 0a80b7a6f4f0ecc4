import { basename } from 'node:path';
import type { Host } from './host.js';

/** What the kernel says of one thread (proc_pid_status(5)). */
export interface Thread {
  /** 2: its system calls go through a filter. */
  readonly seccomp: number;
  readonly noNewPrivs: boolean;
  /** Real, effective, saved and file system uid. */
  readonly uids: readonly number[];
}

export interface VmProcess {
  readonly pid: number;
  /** Name of its executable. */
  readonly program: string;
  readonly threads: readonly Thread[];
}

/** The children of every process. */
export type Family = ReadonlyMap<number, readonly number[]>;

export async function familyOf(host: Host): Promise<Family> {
  const family = new Map<number, number[]>();
  const pids = (await host.list('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => host.read(`/proc/${pid}/stat`)));
  for (const [index, stat] of stats.entries()) {
    // The command name (field 2) may hold spaces and parentheses: the fields are counted from its last ')'.
    const parent = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    family.set(parent, [...(family.get(parent) ?? []), Number(pids[index])]);
  }
  return family;
}

/** A process and all below it; those that end meanwhile are left out. */
export async function processTree(host: Host, family: Family, pid: number): Promise<VmProcess[]> {
  const [own, ...below] = await Promise.all([
    processOf(host, pid),
    ...(family.get(pid) ?? []).map((child) => processTree(host, family, child)),
  ]);
  return [...(own === undefined ? [] : [own]), ...below.flat()];
}

async function processOf(host: Host, pid: number): Promise<VmProcess | undefined> {
  const tasks = await host.list(`/proc/${pid}/task`);
  const [program, ...statuses] = await Promise.all([
    programOf(host, pid),
    ...tasks.map((task) => host.read(`/proc/${pid}/task/${task}/status`)),
  ]);
  const threads = statuses.filter((status) => status !== undefined).map(threadOf);
  return threads.length === 0 ? undefined : { pid, program, threads };
}

async function programOf(host: Host, pid: number): Promise<string> {
  const [link, name] = await Promise.all([host.link(`/proc/${pid}/exe`), host.read(`/proc/${pid}/comm`)]);
  return link === undefined ? (name ?? 'a process') : basename(link).replace(/ \(deleted\)$/, '');
}

function threadOf(status: string): Thread {
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
  return {
    seccomp: Number(field('Seccomp') || 0),
    noNewPrivs: field('NoNewPrivs') === '1',
    uids: field('Uid').split(/\s+/).map(Number),
  };
}
