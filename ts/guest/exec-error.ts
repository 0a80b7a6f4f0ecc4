import { SmartVMError, type SmartVMErrorCode } from '../errors.js';
import type { ExecResult } from './exec-types.js';

export interface ExecFailure extends ExecResult<string | Buffer> {
  readonly command: string;
  readonly cause?: unknown;
}

/** Of standard error, this much of its end is in the message. */
const MAX_TAIL = 1_000;

/** A {@link SmartVMError} of a command that did not come to a good end, shaped like the result that it would have had. */
export class ExecError extends SmartVMError {
  /** The program's name. Its arguments may be secrets. */
  readonly command: string;
  /** Both null when the command was ended before it said how it ended. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What was collected so far. */
  readonly stdout: string | Buffer;
  readonly stderr: string | Buffer;
  readonly durationMs: number;
  /** The message without what the command wrote. */
  readonly shortMessage: string;
  readonly failed = true;

  constructor(code: SmartVMErrorCode, shortMessage: string, failure: ExecFailure) {
    const { command, cause, exitCode, signal, stdout, stderr, durationMs } = failure;
    const tail = code === 'EXEC_FAILED' ? tailOf(stderr) : '';
    super(code, tail === '' ? shortMessage : `${shortMessage}\n${tail}`, {
      ...(cause === undefined ? {} : { cause }),
      details: { exitCode, signal, stdout, stderr, durationMs },
    });
    this.command = command;
    this.exitCode = exitCode;
    this.signal = signal;
    this.stdout = stdout;
    this.stderr = stderr;
    this.durationMs = durationMs;
    this.shortMessage = shortMessage;
  }

  get timedOut(): boolean {
    return this.code === 'EXEC_TIMEOUT';
  }

  get isCanceled(): boolean {
    return this.code === 'CANCELED';
  }

  /** Whether it wrote more than `maxOutputBytes`. */
  get isMaxBuffer(): boolean {
    return this.code === 'EXEC_OUTPUT_LIMIT';
  }
}

function tailOf(output: string | Buffer): string {
  const end = typeof output === 'string' ? output.slice(-MAX_TAIL) : output.subarray(-MAX_TAIL).toString('utf8');
  return end.trim();
}
