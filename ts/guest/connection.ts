import { once } from 'node:events';
import type { Client, ClientChannel } from 'ssh2';
import { SmartVMError } from '../errors.js';
import { collect, commandVector } from './exec.js';
import type { VmKeys } from './keys.js';
import { SshProcess, spawnRequest } from './process.js';
import type { DialOptions, ExecOptions, ExecResult, Guest, GuestProcess, SpawnOptions } from './types.js';
import { connectVsock } from './vsock.js';

/** The port of the agent's SSH server: 22 is where systemd 256 and later puts the image's own. */
export const AGENT_VSOCK_PORT = 10022;
const PROTOCOL = 1;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const MAX_CONTROL_ANSWER_BYTES = 64 * 1024;

export interface GuestConnectionOptions extends DialOptions {
  /** The VM's vsock socket on the host. */
  udsPath: string;
  keys: Pick<VmKeys, 'clientKey' | 'hostPublicKey'>;
}

/** What the agent says of itself and its guest. */
export interface GuestInfo {
  readonly protocol: number;
  readonly agentVersion: string;
  readonly bootId: string;
  readonly kernel: string;
}

/** An SSH connection to the guest's agent; every command is a channel in it. */
export class GuestConnection implements Guest {
  readonly #client: Client;
  readonly #explain: (error: SmartVMError) => Promise<unknown>;
  #lost: SmartVMError | undefined;

  private constructor(client: Client, options: GuestConnectionOptions) {
    this.#client = client;
    this.#explain = options.explain ?? (async (error) => error);
    client.on('error', (cause) => this.#lose(cause));
    client.on('close', () => this.#lose());
  }

  /**
   * Dials the agent and authenticates both sides.
   * @throws SmartVMError AGENT_UNREACHABLE while the agent is not up, or is not the one with this VM's key; CANCELED
   */
  static async open(options: GuestConnectionOptions): Promise<GuestConnection> {
    const [{ default: ssh2 }, socket] = await Promise.all([
      import('ssh2'),
      connectVsock(options.udsPath, AGENT_VSOCK_PORT, { signal: options.signal }),
    ]);
    const client = new ssh2.Client();
    const abort = () => client.destroy();
    options.signal?.addEventListener('abort', abort, { once: true });
    try {
      client.connect({
        sock: socket,
        username: 'root',
        privateKey: options.keys.clientKey,
        hostVerifier: (key: Buffer) => key.toString('base64') === options.keys.hostPublicKey,
        readyTimeout: HANDSHAKE_TIMEOUT_MS,
        // AES-GCM is what an emulated guest is fastest at.
        algorithms: { cipher: ['aes128-gcm@openssh.com'], kex: ['curve25519-sha256'], serverHostKey: ['ssh-ed25519'] },
      });
      const ended = once(client, 'close').then(() => Promise.reject(new Error('the connection ended')));
      await Promise.race([once(client, 'ready'), ended]);
      return new GuestConnection(client, options);
    } catch (cause) {
      client.on('error', () => undefined); // what comes after the first error is its echo
      client.destroy();
      if (options.signal?.aborted) {
        throw new SmartVMError('CANCELED', 'connecting to the guest agent was canceled', { cause });
      }
      throw new SmartVMError('AGENT_UNREACHABLE', `SSH to the guest agent failed: ${(cause as Error).message}`, {
        cause,
      });
    } finally {
      options.signal?.removeEventListener('abort', abort);
    }
  }

  /**
   * Starts a process in the guest.
   * @throws SmartVMError AGENT_UNREACHABLE when the connection is lost, AGENT_FAILED when the agent refuses
   */
  async spawn(argv: readonly string[], options: SpawnOptions = {}): Promise<GuestProcess> {
    return new SshProcess(await this.#openChannel(`smartvm-exec ${spawnRequest(argv, options)}`), () => this.#loss());
  }

  /**
   * Runs a command in the guest and collects its output. Any exit code is a result.
   * @throws SmartVMError EXEC_TIMEOUT, EXEC_OUTPUT_LIMIT, CANCELED, AGENT_UNREACHABLE, AGENT_FAILED
   */
  async exec(command: string | readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return await collect(await this.spawn(commandVector(command, options.shell), options), options);
  }

  /**
   * Who is there, and whether we speak the same protocol.
   * @throws SmartVMError AGENT_FAILED when the agent's protocol is not this library's
   */
  async info(): Promise<GuestInfo> {
    const info = (await this.#control('info', {})) as GuestInfo;
    if (info.protocol !== PROTOCOL) {
      throw new SmartVMError(
        'AGENT_FAILED',
        `the guest agent ${info.agentVersion} speaks protocol ${info.protocol}, this library ${PROTOCOL}: rebuild the image`,
      );
    }
    return info;
  }

  /** Sets the guest's clock to the host's. */
  async setClock(): Promise<void> {
    await this.#control('clock', { timeMs: Date.now() });
  }

  /** Asks the guest to end itself in order. `reboot` ends a Firecracker on x86, where a power-off does not. */
  async shutdown(mode: 'reboot' | 'poweroff'): Promise<void> {
    await this.#control('shutdown', { mode });
  }

  /** Ends the connection; processes that it started are ended by the agent. */
  close(reason?: SmartVMError): void {
    this.#lost ??= reason;
    this.#client.destroy();
  }

  async #control(verb: string, parameters: object): Promise<unknown> {
    const channel = await this.#openChannel(`smartvm-agent ${verb} ${JSON.stringify(parameters)}`);
    let answer = '';
    for await (const chunk of channel as AsyncIterable<Buffer>) {
      answer += chunk.toString();
      if (answer.length > MAX_CONTROL_ANSWER_BYTES) {
        channel.close();
        throw new SmartVMError('AGENT_FAILED', `the guest agent's answer to ${verb} does not end`);
      }
    }
    try {
      const value = JSON.parse(answer) as { error?: unknown };
      if (typeof value.error !== 'string') {
        return value;
      }
      throw new Error(value.error);
    } catch (cause) {
      if (this.#lost) {
        throw await this.#loss();
      }
      throw new SmartVMError('AGENT_FAILED', `${verb} failed in the guest: ${(cause as Error).message}`, { cause });
    }
  }

  async #openChannel(command: string): Promise<ClientChannel> {
    if (this.#lost) {
      throw await this.#loss();
    }
    const { promise, resolve, reject } = withResolvers<ClientChannel>();
    const onClose = () => reject(undefined);
    this.#client.once('close', onClose);
    this.#client.exec(command, (error, channel) => (error ? reject(error) : resolve(channel)));
    try {
      return await promise;
    } catch (cause) {
      if (this.#lost) {
        throw await this.#loss();
      }
      const why = (cause as Error).message;
      throw new SmartVMError('AGENT_FAILED', `the guest agent refused a command: ${why}`, { cause });
    } finally {
      this.#client.off('close', onClose);
    }
  }

  #lose(cause?: Error): void {
    const why = cause ? `: ${cause.message}` : '';
    this.#lost ??= new SmartVMError('AGENT_UNREACHABLE', `the connection to the guest agent was lost${why}`, { cause });
  }

  async #loss(): Promise<unknown> {
    this.#lose();
    return await this.#explain(this.#lost as SmartVMError);
  }
}

function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
