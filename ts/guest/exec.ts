import type { Readable } from 'node:stream';
import { SmartVMError } from '../errors.js';
import { linkSignals } from '../util/deadline.js';
import type { ExecOptions, ExecResult, GuestProcess } from './types.js';

const DEFAULT_MAX_OUTPUT_BYTES = 100_000_000;

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

/**
 * Runs a process to its end, from its spawning on, and collects what it wrote. Any exit code is a result, not an error.
 * A guest that no longer answers cannot hold up a timeout: the process is ended then, without waiting for word of it.
 * @throws SmartVMError EXEC_TIMEOUT, EXEC_OUTPUT_LIMIT or CANCELED, with what was written so far in `details`; AGENT_UNREACHABLE
 */
export async function collect(spawning: Promise<GuestProcess>, options: ExecOptions): Promise<ExecResult> {
  const started = performance.now();
  const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const { promise: stopped, stop } = stopper(output);
  const limit = options.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES;
  const overflow = () =>
    stop('EXEC_OUTPUT_LIMIT', `the command wrote more than ${limit} bytes; read it as a stream with spawn()`);
  using linked = linkSignals([options.signal], options.timeoutMs);
  const onAbort = () =>
    linked.timedOut
      ? stop('EXEC_TIMEOUT', `the command ran over ${options.timeoutMs} ms`)
      : stop('CANCELED', 'the command was canceled', options.signal?.reason);
  linked.signal.aborted ? onAbort() : linked.signal.addEventListener('abort', onAbort, { once: true });
  try {
    const child = await Promise.race([spawning, stopped]);
    const read = [
      gather(child.stdout, output.stdout, limit, overflow),
      gather(child.stderr, output.stderr, limit, overflow),
    ];
    child.stdin.end(options.stdin);
    const [exit] = await Promise.race([Promise.all([child.wait(), ...read]), stopped]);
    return {
      ...exit,
      stdout: text(output.stdout),
      stderr: text(output.stderr),
      durationMs: performance.now() - started,
    };
  } catch (error) {
    spawning.then(
      (child) => child.destroy(), // also one that comes late
      () => undefined,
    );
    throw error;
  }
}

function stopper(output: { stdout: Buffer[]; stderr: Buffer[] }) {
  let stop!: (code: 'EXEC_TIMEOUT' | 'EXEC_OUTPUT_LIMIT' | 'CANCELED', message: string, cause?: unknown) => void;
  const promise = new Promise<never>((_resolve, reject) => {
    stop = (code, message, cause) => {
      const details = { stdout: text(output.stdout), stderr: text(output.stderr) };
      reject(new SmartVMError(code, message, { cause, details }));
    };
  });
  return { promise, stop };
}

/** Reads a stream to its end, or to the limit; what comes behind that is dropped. */
function gather(stream: Readable, chunks: Buffer[], limit: number, overflow: () => void): Promise<void> {
  let bytes = 0;
  const onData = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= limit) {
      chunks.push(chunk);
      return;
    }
    stream.off('data', onData).resume();
    overflow();
  };
  return new Promise((resolve) => {
    stream.on('data', onData).once('end', resolve);
  });
}

function text(chunks: Buffer[]): string {
  return Buffer.concat(chunks).toString('utf8');
}
