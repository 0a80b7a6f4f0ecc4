import { readFileSync } from 'node:fs';

/** What tells one process from every other: a pid alone is reused, a start time alone repeats after a reboot. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, field 22 of /proc/PID/stat. A string: it may pass 2^53. */
  readonly startTime: string;
  readonly bootId: string;
}

const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const GONE: readonly unknown[] = ['ENOENT', 'ESRCH'];

/** This boot's id, from the kernel. */
export function currentBootId(): string {
  return readFileSync(BOOT_ID, 'utf8').trim();
}

/** The identity of a live process; undefined when there is none, or only a zombie. */
export async function processIdentity(pid: number): Promise<ProcessIdentity | undefined> {
  const startTime = startTimeOf(pid);
  return startTime === undefined ? undefined : { pid, startTime, bootId: currentBootId() };
}

function startTimeOf(pid: number): string | undefined {
  return startTimeIn(statOf(pid));
}

/**
 * The kernel answers in microseconds: to have another thread read takes ten times as long.
 * @throws what is not its word for a process that is gone: for a program that has no file descriptor left nobody else is dead
 */
function statOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (!GONE.includes((error as NodeJS.ErrnoException).code)) {
      throw error;
    }
    return undefined;
  }
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
  const now = fieldsOf(bootId === currentBoot ? statOf(pid) : undefined);
  return now.startTime === startTime && now.vsize !== '0';
}

let current: ProcessIdentity | undefined;

/** The identity of this program. */
export function currentProcess(): ProcessIdentity {
  current ??= {
    pid: process.pid,
    startTime: startTimeIn(readFileSync('/proc/self/stat', 'utf8')) as string, // it lives
    bootId: currentBootId(),
  };
  return current;
}
