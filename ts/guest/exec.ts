import type { Readable } from 'node:stream';
import { SmartVMError } from '../errors.js';
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
      `a command is an argument vector, such as ['ls', '-l']; for a shell's command line pass { shell: true }: ${command}`,
    );
  }
  return ['/bin/sh', '-c', command];
}

/**
 * Runs a spawned process to its end and collects what it wrote. Any exit code is a result, not an error.
 * @throws SmartVMError EXEC_TIMEOUT, EXEC_OUTPUT_LIMIT or CANCELED, with what was written so far in `details`; AGENT_UNREACHABLE
 */
export async function collect(child: GuestProcess, options: ExecOptions): Promise<ExecResult> {
  const started = performance.now();
  const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  let stopped: SmartVMError | undefined;
  const stop = (code: 'EXEC_TIMEOUT' | 'EXEC_OUTPUT_LIMIT' | 'CANCELED', message: string, cause?: unknown) => {
    stopped ??= new SmartVMError(code, message, {
      cause,
      details: { stdout: text(output.stdout), stderr: text(output.stderr) },
    });
    child.destroy();
  };
  const limit = options.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES;
  const overflow = () =>
    stop('EXEC_OUTPUT_LIMIT', `the command wrote more than ${limit} bytes; read it as a stream with spawn()`);
  gather(child.stdout, output.stdout, limit, overflow);
  gather(child.stderr, output.stderr, limit, overflow);
  const { timeoutMs, signal } = options;
  const onAbort = () => stop('CANCELED', 'the command was canceled', signal?.reason);
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => stop('EXEC_TIMEOUT', `the command ran over ${timeoutMs} ms`), timeoutMs);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) {
    onAbort();
  }
  try {
    child.stdin.end(options.stdin);
    const exit = await child.wait();
    if (stopped) {
      throw stopped;
    }
    return {
      ...exit,
      stdout: text(output.stdout),
      stderr: text(output.stderr),
      durationMs: performance.now() - started,
    };
  } catch (error) {
    throw stopped ?? error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

function gather(stream: Readable, chunks: Buffer[], limit: number, overflow: () => void): void {
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > limit) {
      overflow();
    } else {
      chunks.push(chunk);
    }
  });
}

function text(chunks: Buffer[]): string {
  return Buffer.concat(chunks).toString('utf8');
}
