import type { Readable } from 'node:stream';
import { SmartVMError } from '../errors.js';
import { readFirstLine } from '../util/first-line.js';
import type { GuestCommand } from './types.js';

const MAX_LINE_BYTES = 32 * 1024;
const MAX_WORDS = 1024;
const PREFIX = /^smartvm-agent: /;

/** That a session ended without the line that says that its process runs. */
export interface Refusal {
  readonly why: string;
  /** A shell's, for what cannot be executed. */
  readonly exitCode: number | null;
}

/**
 * Waits for the agent's line of a process that runs, the first on the session's standard output.
 * @returns the line, or why there is none
 * @throws SmartVMError AGENT_UNREACHABLE, AGENT_FAILED
 */
export async function startedLine(session: GuestCommand): Promise<string | Refusal> {
  const line = await readFirstLine(session.stdout, MAX_LINE_BYTES).catch(() => '');
  if (line.endsWith('\n')) {
    return line;
  }
  session.stdout.resume();
  const [{ exitCode }, words] = await Promise.all([session.wait(), wordsOf(session.stderr)]);
  return { why: words.trim().replace(PREFIX, ''), exitCode };
}

function wordsOf(stream: Readable): Promise<string> {
  let words = '';
  stream.on('data', (chunk: Buffer) => {
    words = `${words}${chunk}`.slice(0, MAX_WORDS);
  });
  return new Promise((resolve) => {
    stream.once('end', () => resolve(words));
  });
}

/** As {@link startedLine}. @throws SmartVMError EXEC_FAILED where there is none */
export async function assertStarted(argv: readonly string[], session: GuestCommand): Promise<string> {
  const line = await startedLine(session);
  if (typeof line === 'string') {
    return line;
  }
  const { why, exitCode } = line;
  throw new SmartVMError('EXEC_FAILED', why || `${argv[0]}: it could not be executed`, { details: { exitCode } });
}
