import type { Readable, Writable } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { SmartVMError } from '../errors.js';
import type { GuestProcess, ProcessExit, SpawnOptions } from './types.js';

/** `exec` requests are bounded by the agent. */
const MAX_REQUEST_BYTES = 256 * 1024;

/** The agent's form of an argument vector, so that no shell reads it. */
export function spawnRequest(argv: readonly string[], options: SpawnOptions): string {
  if (argv.length === 0 || argv.some((argument) => typeof argument !== 'string' || argument.includes('\0'))) {
    throw new SmartVMError('INVALID_OPTION', 'a command is a vector of one or more strings without NUL');
  }
  const request = JSON.stringify({ argv, cwd: options.cwd, env: options.env, user: options.user });
  if (Buffer.byteLength(request) > MAX_REQUEST_BYTES) {
    throw new SmartVMError('INVALID_OPTION', `a command with its environment may have ${MAX_REQUEST_BYTES} bytes`);
  }
  return request;
}

/** A process behind an SSH channel. */
export class SshProcess implements GuestProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly #channel: ClientChannel;
  readonly #exit: Promise<ProcessExit>;

  constructor(channel: ClientChannel, loss: () => Promise<unknown>) {
    this.#channel = channel;
    this.stdin = channel;
    this.stdout = channel;
    this.stderr = channel.stderr;
    this.#exit = new Promise((resolve, reject) => {
      let exit: ProcessExit | undefined;
      channel.once('exit', (code: number | null, signal?: string) => {
        exit = signal
          ? { exitCode: null, signal: `SIG${signal.replace(/^SIG/, '')}` as NodeJS.Signals }
          : { exitCode: code, signal: null };
      });
      channel.once('close', () => {
        exit ? resolve(exit) : loss().then(reject);
      });
      channel.on('error', () => undefined); // 'close' follows
    });
    this.#exit.catch(() => undefined); // whoever waits is told
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    this.#channel.signal(signal.replace(/^SIG/, ''));
  }

  /** The agent ends the group when the channel closes. */
  destroy(): void {
    this.#channel.close();
    this.#channel.destroy();
  }

  wait(): Promise<ProcessExit> {
    return this.#exit;
  }
}
