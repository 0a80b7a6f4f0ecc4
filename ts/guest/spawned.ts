import type { ClientChannel } from 'ssh2';
import { errorsOf, flag, integer, list, object, text } from '../config/validation/checks.js';
import { SmartVMError } from '../errors.js';
import { parseSafeJson } from '../util/safe-json.js';
import { SshProcess } from './process.js';
import { assertStarted, startedLine } from './started.js';
import type { GuestProcess, ProcessExit } from './types.js';

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

function malformed(errors: readonly string[]): SmartVMError {
  return new SmartVMError('AGENT_FAILED', `the guest agent told of no process: ${errors.slice(0, 4).join('; ')}`);
}

/** A process that others can reach, behind an SSH channel. */
export class SpawnedProcess extends SshProcess implements GuestProcess {
  #pid = 0;
  #detached = false;
  #dropped = 0;

  /**
   * The process that a session has started.
   * @throws SmartVMError EXEC_FAILED
   */
  static async started(
    channel: ClientChannel,
    loss: () => Promise<unknown>,
    argv: readonly string[],
    detached: boolean,
  ): Promise<SpawnedProcess> {
    const child = new SpawnedProcess(channel, loss);
    const { pid } = child.#read(await assertStarted(argv, child), begun) as { pid: number };
    child.#pid = pid;
    child.#detached = detached;
    return child;
  }

  /**
   * The process that a session has joined.
   * @throws SmartVMError PROCESS_NOT_FOUND
   */
  static async joined(channel: ClientChannel, loss: () => Promise<unknown>, pid: number): Promise<SpawnedProcess> {
    const child = new SpawnedProcess(channel, loss);
    const line = await startedLine(child);
    if (typeof line !== 'string') {
      throw notFound(pid);
    }
    const { dropped = 0 } = child.#read(line, told) as ToldProcess;
    child.#pid = pid;
    child.#detached = true; // of whoever has joined it, it is independent
    child.#dropped = dropped;
    return child;
  }

  get pid(): number {
    return this.#pid;
  }

  get detached(): boolean {
    return this.#detached;
  }

  get dropped(): number {
    return this.#dropped;
  }

  release(): void {
    if (!this.#detached) {
      throw new SmartVMError(
        'INVALID_STATE',
        `process ${this.#pid} ends with this program: spawn it with \`detached: true\``,
      );
    }
    super.destroy();
  }

  override destroy(): void {
    this.kill('SIGKILL');
    super.destroy();
  }

  #read(line: string, check: typeof told): unknown {
    let value: unknown;
    try {
      value = parseSafeJson(line);
    } catch {
      value = undefined;
    }
    const errors = errorsOf(check, value, 'process');
    if (errors.length > 0) {
      this.destroy();
      throw malformed(errors);
    }
    return value;
  }
}

/** The error for a number that is no spawned process's. */
export function notFound(pid: number): SmartVMError {
  return new SmartVMError('PROCESS_NOT_FOUND', `process ${pid} was not started by spawn(), or has ended long ago`, {
    details: { pid },
  });
}
