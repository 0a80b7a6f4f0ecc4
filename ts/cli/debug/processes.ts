import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Host } from '../../doctor/host.js';
import { familyOf } from '../../doctor/processes.js';
import { currentBootId, isSameProcess, type ProcessIdentity, processIdentity } from '../../util/process-identity.js';
import { cgroupsNamed } from '../../vmm/jail/cgroups.js';
import type { Subject } from './subject.js';

/** Of /proc/PID: how it is and what it waits for. Not its environment. */
const PROC_FILES = ['status', 'wchan', 'stack', 'cgroup', 'limits'] as const;
const CGROUP_FILES = [
  ...['cgroup.events', 'cgroup.procs', 'cpu.max', 'cpu.stat', 'cpu.pressure', 'memory.current', 'memory.events'],
  ...['memory.max', 'memory.peak', 'memory.pressure', 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'pids.current'],
  ...['pids.max', 'pids.events'],
] as const;

type Texts = Record<string, string>;

/** The keeper, the VMM, and all that the VMM has started. */
export async function processesOf(subject: Subject): Promise<unknown> {
  const named = await identitiesOf(subject);
  const family = await familyOf(new Host());
  const found = Object.entries(named).map(async ([role, identity]) => {
    const now = await processIdentity(identity.pid);
    if (!now || !isSameProcess(now, identity)) {
      return [role, { ...identity, ended: true, pidTaken: now !== undefined }] as const;
    }
    const below = role === 'keeper' ? [] : descendants(family, identity.pid);
    const children = await Promise.all(below.map(async (pid) => ({ pid, ...(await procOf(pid)) })));
    return [role, { ...identity, ...(await procOf(identity.pid)), children }] as const;
  });
  return Object.fromEntries(await Promise.all(found));
}

async function identitiesOf({ record, keeper }: Subject): Promise<Record<string, ProcessIdentity>> {
  const owner: Record<string, ProcessIdentity> = record ? { owner: record.owner } : {};
  if (record?.processes) {
    const { keeper: launched, vmm } = record.processes;
    return { ...owner, keeper: launched, ...(vmm && { vmm }) };
  }
  if (typeof keeper === 'string') {
    return owner; // neither the record nor a keeper names any
  }
  const bootId = currentBootId();
  return {
    ...owner,
    keeper: { pid: keeper.keeperPid, startTime: keeper.keeperStartTime, bootId },
    vmm: { pid: keeper.vmmPid, startTime: keeper.vmmStartTime, bootId },
  };
}

function descendants(family: ReadonlyMap<number, readonly number[]>, pid: number): number[] {
  return (family.get(pid) ?? []).flatMap((child) => [child, ...descendants(family, child)]);
}

async function procOf(pid: number): Promise<Texts> {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return { commandLine: commandLine.split('\0').join(' ').trim(), ...(await textsIn(`/proc/${pid}`, PROC_FILES)) };
}

/** What the VM's cgroups say, by their paths. */
export async function cgroupsOf({ record }: Subject): Promise<unknown> {
  const name = record?.journal.cgroup;
  if (name === undefined) {
    return undefined;
  }
  const paths = await cgroupsNamed(name);
  return Object.fromEntries(await Promise.all(paths.map(async (path) => [path, await textsIn(path, CGROUP_FILES)])));
}

/** Those of the files that can be read. */
async function textsIn(folder: string, names: readonly string[]): Promise<Texts> {
  const texts = names.map(async (name) => [name, await readFile(join(folder, name), 'utf8').catch(() => '')] as const);
  return Object.fromEntries((await Promise.all(texts)).filter(([, text]) => text !== ''));
}
