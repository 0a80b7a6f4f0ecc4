import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { endProcess } from '../../util/end-process.js';
import { type Holder, isSameHolder, readHolder } from '../../util/holder.js';
import { isAlive, type ProcessIdentity, processIdentity } from '../../util/process-identity.js';
import { cgroupsNamed } from '../jail/cgroups.js';
import { uidsByProcess } from '../jail/uid-lease.js';
import { openLeaseDirectory } from '../lease-directory.js';
import type { VmRecord } from './record.js';

const END_MS = 5_000;

/**
 * Processes of a VM whose keeper is dead: a VMM that has changed its user outlives it. They are told by who they were when the VM
 * started; by the VM's cgroup; and by its uid, where that is leased to it still.
 */
export async function processesLeft(record: VmRecord, holder: Holder): Promise<ProcessIdentity[]> {
  const { cgroup, uid } = record.journal;
  const vmm = record.processes?.vmm;
  const pids = new Set<number>([
    ...(vmm && (await isAlive(vmm)) && (await namesVm(vmm.pid, record.id)) ? [vmm.pid] : []),
    ...(cgroup === undefined ? [] : await pidsIn(await cgroupsNamed(cgroup))),
    ...(uid === undefined ? [] : await pidsOf(uid, holder)),
  ]);
  const found = await Promise.all([...pids].map(processIdentity));
  return found.filter((identity) => identity !== undefined);
}

/** @throws SmartVMError CLEANUP_FAILED when it does not end */
export async function endLeft(identity: ProcessIdentity): Promise<void> {
  if (!(await endProcess(identity, END_MS))) {
    throw new SmartVMError('CLEANUP_FAILED', `process ${identity.pid} does not end`);
  }
}

/**
 * Ends what a keeper has left that died before it could say whom it had started.
 * @throws SmartVMError CLEANUP_FAILED
 */
export async function endUnnamed(runtimeDir: string, record: VmRecord): Promise<void> {
  const { id, owner } = record;
  await Promise.all((await processesLeft(record, { id, runtimeDir, owner })).map(endLeft));
}

/** The command line that every VMM has. */
async function namesVm(pid: number, id: string): Promise<boolean> {
  const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  return args.some((arg, index) => arg === '--id' && args[index + 1] === id);
}

async function pidsIn(cgroups: readonly string[]): Promise<number[]> {
  const lists = await Promise.all(cgroups.map((path) => readFile(join(path, 'cgroup.procs'), 'utf8').catch(() => '')));
  return lists.flatMap((list) => list.split('\n').filter(Boolean).map(Number));
}

async function pidsOf(uid: number, holder: Holder): Promise<number[]> {
  const lease = await readHolder(join(await openLeaseDirectory('uid'), String(uid)));
  if (lease === undefined || lease === 'unknown' || !isSameHolder(lease, holder)) {
    return [];
  }
  const all = await uidsByProcess();
  return [...all].filter(([, uids]) => uids.includes(String(uid))).map(([pid]) => pid);
}
