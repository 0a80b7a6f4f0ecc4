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

/** The start time of a process that lives, by its /proc/PID/stat. */
function startTimeIn(stat: string | undefined): string | undefined {
  const { state, threads, startTime } = fieldsOf(stat);
  // A zombie whose other threads have not ended yet is only the first of them that did.
  const isZombie = state === 'Z' && Number(threads) <= 1;
  return state === undefined || isZombie || state === 'X' ? undefined : startTime;
}

/** What proc_pid_stat(5) calls state (3), num_threads (20), starttime (22) and vsize (23). */
function fieldsOf(stat: string | undefined) {
  // The command name (field 2) may hold spaces and parentheses: the fields are counted from its last ')'.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
  return { state: fields[0], threads: fields[17], startTime: fields[19], vsize: fields[20] };
}

export function isSameProcess(a: ProcessIdentity, b: ProcessIdentity): boolean {
  return a.pid === b.pid && a.startTime === b.startTime && a.bootId === b.bootId;
}

/** True while that very process lives; a zombie and a reused pid are not it. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const now = await processIdentity(identity.pid);
  return now !== undefined && isSameProcess(now, identity);
}

/**
 * True while that very process can still do something, for a look at many that must cost next to nothing. One that was killed
 * cannot from the moment on in which its first thread gave up its memory; on a busy host the last of its threads, and with it what
 * {@link isAlive} speaks of, may go a second later.
 */
export function isActiveSync({ pid, startTime, bootId }: ProcessIdentity, currentBoot: string): boolean {
  if (bootId !== currentBoot) {
    return false;
  }
  try {
    const now = fieldsOf(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    return now.startTime === startTime && now.vsize !== '0';
  } catch {
    return false;
  }
}

let current: Promise<ProcessIdentity> | undefined;

/** The identity of this program. */
export function currentProcess(): Promise<ProcessIdentity> {
  current ??= processIdentity(process.pid).then((identity) => identity as ProcessIdentity); // it lives
  return current;
}
