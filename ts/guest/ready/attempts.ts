import type { Readable } from 'node:stream';
import { isSmartVMError } from '../../errors.js';
import { delay, linkSignals } from '../../util/deadline.js';
import { Execution } from '../execution.js';
import type { Guest } from '../types.js';
import { askHttp } from './http.js';
import type { AgentWait, CommandWait, HttpWait, PortWait } from './types.js';
import { tailWords } from './words.js';

const INTERVAL_MS = 100;
const ATTEMPT_TIMEOUT_MS = 5_000;
const COMMAND_TIMEOUT_MS = 30_000;
const MAX_TAIL = 2_000;

/** A wait for something that has to be asked for again and again. */
export type PolledWait = AgentWait | PortWait | HttpWait | CommandWait;

/**
 * Makes one attempt after the other until one is good, or the signal aborts.
 * @param saw is told what was seen instead
 * @returns whether one was
 * @throws SmartVMError what no other attempt would change: INVALID_STATE, NO_CLIENT, VMM_EXITED, AGENT_MISSING, AGENT_TOO_OLD
 */
export async function poll(
  wait: PolledWait,
  guest: () => Promise<Guest>,
  signal: AbortSignal,
  saw: (words: string) => void,
): Promise<boolean> {
  const { intervalMs = INTERVAL_MS } = wait;
  while (!signal.aborted) {
    const begin = performance.now();
    const problem = await attemptInTime(wait, guest, signal);
    if (problem === undefined) {
      return true;
    }
    if (!signal.aborted) {
      saw(problem);
    }
    await delay(Math.max(intervalMs, performance.now() - begin), signal); // who asks all the time holds up who is to answer
  }
  return false;
}

async function attemptInTime(wait: PolledWait, guest: () => Promise<Guest>, signal: AbortSignal) {
  const { attemptTimeoutMs = wait.kind === 'command' ? COMMAND_TIMEOUT_MS : ATTEMPT_TIMEOUT_MS } = wait;
  using linked = linkSignals([signal], attemptTimeoutMs);
  const late = new Promise<string>((resolve) => {
    linked.signal.addEventListener('abort', () => resolve(`no answer within ${attemptTimeoutMs} ms`), { once: true });
  });
  const attempt = guest().then((it) => attemptOf(wait, it, linked.signal));
  try {
    return await Promise.race([attempt, late]); // it hears of the signal too
  } catch (error) {
    return wordsOf(error);
  }
}

function wordsOf(error: unknown): string {
  if (isSmartVMError(error, 'PORT_UNREACHABLE')) {
    return `nobody listens: ${(error.cause as Error | undefined)?.message ?? error.message}`;
  }
  if (isSmartVMError(error, 'AGENT_UNREACHABLE', 'AGENT_FAILED')) {
    return error.message;
  }
  throw error;
}

async function attemptOf(wait: PolledWait, guest: Guest, signal: AbortSignal): Promise<string | undefined> {
  switch (wait.kind) {
    case 'agent':
      await guest.control('info');
      return undefined;
    case 'port':
      (await guest.dial(wait.address)).destroy();
      return undefined;
    case 'http':
      return await askHttp(wait, guest, signal);
    case 'command':
      return await runOnce(wait, guest, signal);
  }
}

async function runOnce(wait: CommandWait, guest: Guest, signal: AbortSignal): Promise<string | undefined> {
  const { command, exitCode: wanted = 0, shell, cwd, env, user } = wait;
  const run = new Execution(async () => guest, command, { shell, cwd, env, user, signal });
  run.stdout.resume();
  const [result, said] = await Promise.all([run, tailOf(run.stderr)]);
  if (result.exitCode === wanted) {
    return undefined;
  }
  const how = result.signal === null ? `exit code ${result.exitCode}` : `ended by ${result.signal}`;
  return said === '' ? how : `${how}: ${tailWords(said)}`;
}

async function tailOf(stream: Readable): Promise<string> {
  let tail = Buffer.alloc(0);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    tail = Buffer.concat([tail, chunk]).subarray(-MAX_TAIL);
  }
  return tail.toString().trimEnd();
}
