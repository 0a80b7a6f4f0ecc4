import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the keeper writes to exit.json when the VMM has ended. */
export interface VmmExit {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** As a shell has it, of the command with which the VM ended; absent where it ended otherwise. It is the guest's word. */
  readonly commandExitCode?: number;
  /**
   * `stopped`: a program said that it would; `timeout`, `idle-timeout`: the keeper ended it because its time was up; `owner-gone`:
   * because its owner died; `keeper-lost`: the keeper itself was killed, the VMM with it.
   */
  readonly reason: 'exited' | 'stopped' | 'timeout' | 'idle-timeout' | 'owner-gone' | 'keeper-lost';
  readonly startedAt: string | null;
  readonly exitedAt: string | null;
}

/** Firecracker's exit codes that have names (src/vmm/src/lib.rs, FcExitCode). */
const EXIT_CODES: Readonly<Record<number, string>> = {
  1: 'GenericError',
  2: 'UnexpectedError',
  148: 'BadSyscall: a system call that seccomp forbids',
  149: 'SIGBUS: memory it was promised is not there, such as a short huge page pool or a truncated memory file',
  150: 'SIGSEGV',
  151: 'SIGXFSZ: a file would pass its size limit',
  152: 'BadConfiguration',
  153: 'ArgumentParsing',
  154: 'SIGXCPU',
  155: 'SIGPIPE',
  156: 'SIGHUP',
  157: 'SIGILL',
};

/** Whether the end of a console holds the last words of a Linux kernel. */
export function hasPanicked(consoleTail: readonly string[]): boolean {
  return consoleTail.some((line) => line.includes('Kernel panic - not syncing'));
}

/** The exit in words. */
export function describeExit(exit: VmmExit, consoleTail: readonly string[] = []): string {
  if (exit.reason === 'keeper-lost') {
    return 'its keeper was killed, and the VMM with it';
  }
  if (exit.reason === 'timeout') {
    return 'its time (timeoutMs) was up, and its keeper stopped it';
  }
  if (exit.reason === 'idle-timeout') {
    return 'nobody used it for the time that it may be idle (idleTimeoutMs), and its keeper stopped it';
  }
  if (exit.commandExitCode !== undefined) {
    return `its command ended with exit code ${exit.commandExitCode}`;
  }
  if (exit.signal !== null) {
    return `it was killed by ${exit.signal}`;
  }
  if (exit.exitCode === 0) {
    return hasPanicked(consoleTail) ? "its guest's kernel panicked" : 'its guest shut down or reset';
  }
  const name = exit.exitCode === null ? undefined : EXIT_CODES[exit.exitCode];
  return `it exited with ${exit.exitCode}${name ? ` (${name})` : ''}`;
}

/** How a VM ended whose keeper was killed, and with it the VMM. */
export const KEEPER_LOST: VmmExit = {
  exitCode: null,
  signal: null,
  reason: 'keeper-lost',
  startedAt: null,
  exitedAt: null,
};

/** The exit as the keeper recorded it; without a record it was the keeper that was lost. */
export async function readExit(runtimeDir: string): Promise<VmmExit> {
  try {
    return JSON.parse(readFileSync(join(runtimeDir, 'exit.json'), 'utf8')) as VmmExit;
  } catch {
    return KEEPER_LOST;
  }
}
