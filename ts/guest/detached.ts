import { once } from 'node:events';
import { SmartVMError } from '../errors.js';
import type { GuestProcess } from './types.js';

const MAX_WORDS = 1024;
const PREFIX = /^smartvm-agent: /;

/**
 * Waits for the agent's word that a detached process runs: it comes on the session's standard output, and the session stays open.
 * @throws SmartVMError EXEC_FAILED when the session ends instead, with a shell's exit code for that
 */
export async function detachedStart(argv: readonly string[], session: GuestProcess): Promise<void> {
  let words = '';
  session.stderr.on('data', (chunk: Buffer) => {
    words = `${words}${chunk}`.slice(0, MAX_WORDS);
  });
  const refused = session.wait();
  const started = once(session.stdout, 'data').then(() => undefined);
  started.catch(() => undefined); // the session says why
  session.stdin.on('error', () => undefined);
  const exit = await Promise.race([started, refused]);
  if (exit) {
    const why = words.trim().replace(PREFIX, '') || `${argv[0]}: it could not be executed`;
    throw new SmartVMError('EXEC_FAILED', why, { details: { exitCode: exit.exitCode } });
  }
}
