import { errorsOf, flag, integer, list, object, text } from '../config/validation/checks.js';
import { SmartVMError } from '../errors.js';
import { parseSafeJson } from '../util/safe-json.js';
import type { ProcessExit } from './types.js';

/** A process of `spawn()`, whichever program called it. */
export interface ProcessInfo {
  readonly pid: number;
  /** Cut off behind 4 KiB. */
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly user: string;
  /** By the guest's clock. */
  readonly startedAt: Date;
  /** Whether it goes on without the program that started it. */
  readonly detached: boolean;
  /** How it ended; undefined while it runs. */
  readonly exit: ProcessExit | undefined;
}

/** As the agent tells of one. */
interface ToldProcess {
  readonly pid: number;
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly user: string;
  readonly startedAt: number;
  readonly outlives: boolean;
  readonly exitCode?: number;
  readonly signal?: string;
  readonly dropped?: number;
}

const pid = integer(1, 2 ** 22);
const name = text({ minBytes: 0, maxBytes: 4096 });
const told = object<ToldProcess>(
  {
    pid,
    argv: list(text({ minBytes: 0, maxBytes: 16 * 1024 })),
    cwd: name,
    user: name,
    startedAt: integer(0),
    outlives: flag,
    exitCode: integer(0, 255),
    signal: text({ maxBytes: 32 }),
    dropped: integer(0),
  },
  ['pid', 'argv', 'cwd', 'user', 'startedAt', 'outlives'],
);
const answer = object<{ processes: ToldProcess[] }>({ processes: list(told) }, ['processes']);
const begun = object<{ pid: number }>({ pid }, ['pid']);

/** The processes that an agent tells of. @throws SmartVMError AGENT_FAILED for what is no such answer */
export function processesOf(value: unknown): ProcessInfo[] {
  const errors = errorsOf(answer, value, 'answer');
  if (errors.length > 0) {
    throw malformed(errors);
  }
  return (value as { processes: ToldProcess[] }).processes.map(
    ({ pid, argv, cwd, user, startedAt, outlives, exitCode, signal }) => ({
      pid,
      argv,
      cwd,
      user,
      startedAt: new Date(startedAt),
      detached: outlives,
      exit:
        exitCode === undefined && signal === undefined
          ? undefined
          : { exitCode: exitCode ?? null, signal: signal === undefined ? null : (`SIG${signal}` as NodeJS.Signals) },
    }),
  );
}

/** The line that a process begins with which has just been started. @throws SmartVMError AGENT_FAILED */
export function readStarted(line: string): { pid: number } {
  return readLine(line, begun) as { pid: number };
}

/** As {@link readStarted}, of one that is joined. */
export function readJoined(line: string): { dropped?: number } {
  return readLine(line, told) as ToldProcess;
}

function readLine(line: string, check: typeof told): unknown {
  let value: unknown;
  try {
    value = parseSafeJson(line);
  } catch {
    value = undefined;
  }
  const errors = errorsOf(check, value, 'process');
  if (errors.length > 0) {
    throw malformed(errors);
  }
  return value;
}

function malformed(errors: readonly string[]): SmartVMError {
  return new SmartVMError('AGENT_FAILED', `the guest agent told of no process: ${errors.slice(0, 4).join('; ')}`);
}

/** The error for a number that is no spawned process's. */
export function notFound(pid: number): SmartVMError {
  return new SmartVMError('PROCESS_NOT_FOUND', `process ${pid} was not started by spawn(), or has ended long ago`, {
    details: { pid },
  });
}
