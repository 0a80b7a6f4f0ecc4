import type { Readable, Writable } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { SmartVMError } from '../errors.js';
import { limitsRequest } from './exec-options.js';
import { assertTerminalSize } from './terminal.js';
import type { GuestCommand, ProcessExit, SpawnOptions, TerminalSize } from './types.js';

/** A packet of SSH has at most 256 KiB, of which padding and the request's own fields take a little. */
const MAX_REQUEST_BYTES = 255 * 1024;

/** The signals of RFC 4254, 6.9. */
const SSH_SIGNALS: ReadonlySet<string> = new Set([
  'ABRT',
  'ALRM',
  'FPE',
  'HUP',
  'ILL',
  'INT',
  'KILL',
  'PIPE',
  'QUIT',
  'SEGV',
  'TERM',
  'USR1',
  'USR2',
]);

/** What ssh2's `channel.signal()` uses, which does nothing once standard input has ended; and what has come of the process's end. */
interface ChannelInternals {
  readonly _exit: { readonly code?: number | null; readonly signal?: string };
  readonly outgoing: { readonly id: number; readonly state: 'open' | 'eof' | 'closing' | 'closed' };
  readonly _client: { readonly _protocol: { signal(channel: number, name: string): void } };
}

/** The agent's form of an argument vector, so that no shell reads it. @param argv undefined for the user's login shell */
export function spawnRequest(argv: readonly string[] | undefined, options: SpawnOptions, kind: object = {}): string {
  if (argv?.length === 0 || argv?.some((argument) => typeof argument !== 'string' || argument.includes('\0'))) {
    throw new SmartVMError('INVALID_OPTION', 'a command is a vector of one or more strings without NUL');
  }
  const { cwd, env, user } = options;
  const request = JSON.stringify({
    argv,
    login: argv ? undefined : true,
    cwd,
    env,
    user,
    limits: limitsRequest(options),
    ...kind,
  });
  if (Buffer.byteLength(request) > MAX_REQUEST_BYTES) {
    throw new SmartVMError('INVALID_OPTION', `a command with its environment may have ${MAX_REQUEST_BYTES} bytes`);
  }
  return request;
}

/** A process behind an SSH channel. */
export class SshProcess implements GuestCommand {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly #channel: ClientChannel;
  readonly #exit: Promise<ProcessExit>;
  #settle!: (code?: number | null, signal?: string) => void;

  /** @param loss why the channel closed without an exit status */
  constructor(channel: ClientChannel, loss: () => Promise<unknown>) {
    this.#channel = channel;
    this.stdin = channel;
    this.stdout = channel;
    this.stderr = channel.stderr;
    this.#exit = new Promise((resolve, reject) => {
      this.#settle = (code, signal) => {
        if (code !== undefined) {
          resolve({ exitCode: code, signal: signal ? (`SIG${signal.replace(/^SIG/, '')}` as NodeJS.Signals) : null });
        } else {
          reject(destroyed());
        }
      };
      // The arguments are those of 'exit', which may have come in one packet with the channel, before its listeners.
      channel.once('close', (code?: number | null, signal?: string) => {
        code === undefined ? loss().then(reject) : this.#settle(code, signal);
      });
      channel.on('error', () => undefined); // 'close' follows
    });
    this.#exit.catch(() => undefined); // whoever waits is told
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    const name = signal.replace(/^SIG/, '');
    if (!SSH_SIGNALS.has(name)) {
      throw new SmartVMError(
        'INVALID_OPTION',
        `SSH has no name for ${signal}, which processes.kill() can send; it has for ${[...SSH_SIGNALS].join(', ')}`,
      );
    }
    const { _client, outgoing } = this.#channel as unknown as ChannelInternals;
    if (outgoing.state === 'open' || outgoing.state === 'eof') {
      _client._protocol.signal(outgoing.id, name);
    }
  }

  /** Whoever has no terminal is not told. */
  resize({ cols, rows }: TerminalSize): void {
    assertTerminalSize({ cols, rows });
    this.#channel.setWindow(rows, cols, 0, 0);
  }

  /** The agent ends the group when the channel closes. It may be long in saying so: nobody waits for that. */
  destroy(): void {
    const { code, signal } = (this.#channel as unknown as ChannelInternals)._exit;
    this.#settle(code, signal);
    this.#channel.close();
    this.#channel.destroy();
    endNow(this.stdout);
    endNow(this.stderr);
  }

  wait(): Promise<ProcessExit> {
    return this.#exit;
  }
}

/** Ends a stream of a channel with what has come; ssh2 itself ends it when the other side closes the channel. */
function endNow(stream: Readable): void {
  stream.push(null);
  stream.push = () => false;
  stream.resume(); // what nobody reads any more would keep the channel from telling that it is closed
}

function destroyed(): SmartVMError {
  return new SmartVMError('CANCELED', 'the process was ended by destroy() before it said how it ended');
}
