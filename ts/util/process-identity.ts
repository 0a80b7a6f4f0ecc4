import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** What tells one process from every other: a pid alone is reused, a start time alone repeats after a reboot. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, field 22 of /proc/PID/stat. A string: it may pass 2^53. */
  readonly startTime: string;
  readonly bootId: string;
}

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** This boot's id, from the kernel. */
export async function currentBootId(): Promise<string> {
  return (await readFile(BOOT_ID, 'utf8')).trim();
}

/** As {@link currentBootId}, for a look that must cost next to nothing. */
export function currentBootIdSync(): string {
  return readFileSync(BOOT_ID, 'utf8').trim();
}

/** The identity of a live process; undefined when there is none, or only a zombie. */
export async function processIdentity(pid: number): Promise<ProcessIdentity | undefined> {
  const startTime = startTimeIn(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined));
  return startTime === undefined ? undefined : { pid, startTime, bootId: await currentBootId() };
}

/** The start time of a process that lives, by its /proc/PID/stat (proc_pid_stat(5)). */
function startTimeIn(stat: string | undefined): string | undefined {
  // The command name (field 2) may hold spaces and parentheses: the fields are counted from its last ')'.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, threads, startTime] = [fields?.[0], fields?.[17], fields?.[19]];
  // A zombie whose other threads have not ended yet is only the first of them that did.
  const isZombie = state === 'Z' && Number(threads) <= 1;
  return state === undefined || isZombie || state === 'X' ? undefined : startTime;
}

export function isSameProcess(a: ProcessIdentity, b: ProcessIdentity): boolean {
  return a.pid === b.pid && a.startTime === b.startTime && a.bootId === b.bootId;
}

/** True while that very process lives; a zombie and a reused pid are not it. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const now = await processIdentity(identity.pid);
  return now !== undefined && isSameProcess(now, identity);
}

/** As {@link isAlive}, where the boot is known, for a look at many that must cost next to nothing. */
export function isAliveSync({ pid, startTime, bootId }: ProcessIdentity, currentBoot: string): boolean {
  try {
    return bootId === currentBoot && startTimeIn(readFileSync(`/proc/${pid}/stat`, 'utf8')) === startTime;
  } catch {
    return false;
  }
}

let known: ProcessIdentity | undefined;

/** As {@link currentProcess}, for who cannot wait. */
export function currentProcessSync(): ProcessIdentity {
  known ??= {
    pid: process.pid,
    startTime: startTimeIn(readFileSync('/proc/self/stat', 'utf8')) as string, // it lives
    bootId: currentBootIdSync(),
  };
  return known;
}

let current: Promise<ProcessIdentity> | undefined;

/** The identity of this program. */
export function currentProcess(): Promise<ProcessIdentity> {
  current ??= processIdentity(process.pid).then((identity) => identity as ProcessIdentity); // it lives
  return current;
}
