import { readdir, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { delay } from '../../util/deadline.js';
import { currentBootId, isAlive, type ProcessIdentity, processIdentity } from '../../util/process-identity.js';
import { askKeeper } from '../keeper-state.js';
import type { VmRecord } from './record.js';

/** `owned`: the program that made it lives, and sees to it; `running`: its keeper does; `dead`: proven to be neither. */
export type Standing = 'owned' | 'running' | 'dead';

/** A keeper ends its VMM within two seconds, and clears up behind it for some more at most. */
const KEEPER_END_MS = 5_000;
const POLL_MS = 10;

/** Whether a VM lives, by the identities of processes and the kernel's word on its keeper's socket; never by a file's age. */
export async function standingOf(runtimeDir: string, record: VmRecord): Promise<Standing> {
  if (record.owner.bootId !== (await currentBootId())) {
    return 'dead'; // nothing outlives a reboot but files
  }
  if (!record.detached && (await isAlive(record.owner))) {
    return 'owned';
  }
  if (record.detached && (await askKeeper(runtimeDir)) !== 'gone') {
    return 'running';
  }
  // A keeper without its owner ends its VM; one without its VM, itself.
  const keepers = record.processes ? [record.processes.keeper] : await keepersOf(runtimeDir);
  return (await haveEnded(keepers)) && (await askKeeper(runtimeDir)) === 'gone' ? 'dead' : 'running';
}

/** Keepers, and those that are about to be, that are not in the record: their program died between their start and that. */
async function keepersOf(runtimeDir: string): Promise<ProcessIdentity[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = pids.map(async (pid) => {
    const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    const isKeeper =
      /^smartvm-(keeper|launch)-/.test(basename(args[0] ?? '')) && args[args.indexOf('--dir') + 1] === runtimeDir;
    const identity = isKeeper ? await processIdentity(Number(pid)) : undefined;
    return identity ? [identity] : [];
  });
  return (await Promise.all(found)).flat();
}

async function haveEnded(processes: readonly ProcessIdentity[]): Promise<boolean> {
  for (const deadline = performance.now() + KEEPER_END_MS; ; await delay(POLL_MS)) {
    const alive = await Promise.all(processes.map(isAlive));
    if (!alive.includes(true)) {
      return true;
    }
    if (performance.now() > deadline) {
      return false;
    }
  }
}
