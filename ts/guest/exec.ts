import { SmartVMError } from '../errors.js';
import { linkSignals } from '../util/deadline.js';
import { ExecError } from './exec-error.js';
import { inputFrom } from './exec-input.js';
import { DEFAULT_MAX_OUTPUT_BYTES } from './exec-options.js';
import type { Sink } from './exec-sinks.js';
import type { ExecOptions, ExecResult } from './exec-types.js';
import type { GuestCommand, ProcessExit } from './types.js';

const NO_EXIT: ProcessExit = { exitCode: null, signal: null };

/** The argument vector of a command: a string is a command only for a shell, and only when asked for. */
export function commandVector(command: string | readonly string[], shell = false): readonly string[] {
  if (typeof command !== 'string') {
    return command;
  }
  if (!shell) {
    throw new SmartVMError(
      'INVALID_OPTION',
      "a command is an argument vector, such as ['ls', '-l']; for a shell's command line pass { shell: true }",
    );
  }
  return ['/bin/sh', '-c', command];
}

export interface Run<T> {
  readonly argv: readonly string[];
  /** Starts it. */
  readonly open: () => Promise<GuestCommand>;
  /** Where its output goes. */
  readonly sinks: { readonly stdout: Sink<T>; readonly stderr: Sink<T> };
  readonly options: ExecOptions;
  /** Aborts when nobody wants it any more. */
  readonly abandoned: AbortSignal;
}

/**
 * Runs a command to its end. Any exit code is a result, unless `reject` says otherwise.
 * A guest that no longer answers cannot hold up a timeout: the process is ended then, without waiting for word of it.
 * @throws ExecError EXEC_TIMEOUT, EXEC_OUTPUT_LIMIT, CANCELED or EXEC_FAILED, with what was collected so far; SmartVMError
 *   AGENT_UNREACHABLE, VMM_EXITED, AGENT_FAILED
 */
export async function runCommand<T extends string | Buffer>(run: Run<T>): Promise<ExecResult<T>> {
  const { argv, options, sinks } = run;
  const { timeoutMs, signal, maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES } = options;
  const name = argv[0] ?? 'the command';
  const started = performance.now();
  const resultOf = (exit: ProcessExit): ExecResult<T> => ({
    ...exit,
    stdout: sinks.stdout.value(),
    stderr: sinks.stderr.value(),
    durationMs: performance.now() - started,
  });
  const failure = (cause?: unknown, exit = NO_EXIT) => ({ command: name, cause, ...resultOf(exit) });
  const { promise: stopped, stop } = stopper();
  using linked = linkSignals([signal, run.abandoned], timeoutMs);
  const onAbort = () =>
    linked.timedOut
      ? stop(new ExecError('EXEC_TIMEOUT', `${name} ran over ${timeoutMs} ms`, failure()))
      : stop(new ExecError('CANCELED', `${name} was canceled`, failure(linked.signal.reason)));
  linked.signal.aborted ? onAbort() : linked.signal.addEventListener('abort', onAbort, { once: true });
  const overflow = () => {
    const what = `${name} wrote more than ${maxOutputBytes} bytes; take its output as a stream`;
    stop(new ExecError('EXEC_OUTPUT_LIMIT', what, failure()));
  };
  using input = inputFrom(options.stdin, stop);
  const opening = run.open();
  try {
    const child = await Promise.race([opening, stopped]);
    const taken = [sinks.stdout.take(child.stdout, overflow), sinks.stderr.take(child.stderr, overflow)];
    input.to(child.stdin);
    const [exit] = await Promise.race([Promise.all([child.wait(), ...taken]), stopped]);
    if (options.reject && exit.exitCode !== 0) {
      throw new ExecError('EXEC_FAILED', `${name} ended ${words(exit)}`, failure(undefined, exit));
    }
    return resultOf(exit);
  } catch (error) {
    opening.then(
      (child) => child.destroy(), // also one that comes late
      () => undefined,
    );
    throw error;
  }
}

function stopper() {
  let stop!: (reason: SmartVMError) => void;
  const promise = new Promise<never>((_resolve, reject) => {
    stop = reject;
  });
  promise.catch(() => undefined); // whoever races with it is told
  return { promise, stop };
}

function words({ exitCode, signal }: ProcessExit): string {
  return signal === null ? `with exit code ${exitCode}` : `by ${signal}`;
}
