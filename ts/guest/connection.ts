import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Channel, Client, ClientChannel } from 'ssh2';
import type { NetworkAttachment } from '../config/network.js';
import { SmartVMError } from '../errors.js';
import { type GuestConnectionOptions, shakeHands } from './handshake.js';
import { type GuestInterfaceStatus, type GuestNetworkChange, interfacesOf, renumbered } from './network.js';
import { formatGuestAddress, type GuestAddress, unreachable } from './ports/address.js';
import { askForSocket } from './ports/channels.js';
import { GuestSocket } from './ports/guest-socket.js';
import { IncomingConnections } from './ports/incoming.js';
import { SshProcess, spawnRequest } from './process.js';
import { assertProtocol, protocolOf } from './protocol.js';
import { SpawnedProcess } from './spawned.js';
import { assertStarted } from './started.js';
import type {
  Guest,
  GuestCommand,
  GuestListener,
  GuestProcess,
  SpawnDetachedOptions,
  SpawnOptions,
  SpawnProcessOptions,
  TerminalSize,
} from './types.js';
import { holdToWindow } from './window.js';

const MAX_CONTROL_ANSWER_BYTES = 2 * 1024 * 1024;

/** An SSH connection to the guest's agent; every command is a channel in it. */
export class GuestConnection implements Guest {
  readonly closed: Promise<void>;
  readonly #client: Client;
  readonly #explain: (error: SmartVMError) => Promise<unknown>;
  readonly #protocol: number;
  readonly #incoming: IncomingConnections;
  #lost: SmartVMError | undefined;

  private constructor(client: Client, socket: Socket, options: GuestConnectionOptions) {
    this.#client = client;
    this.#incoming = new IncomingConnections(client);
    this.#explain = options.explain ?? (async (error) => error);
    // What it has said for itself in the handshake; ssh2 shows it to nobody.
    this.#protocol = protocolOf((client as unknown as { _remoteVer?: string })._remoteVer);
    client.on('error', (cause) => {
      this.#lose(cause);
      socket.destroy();
    });
    this.closed = new Promise((resolve) => {
      client.on('close', () => {
        this.#lose();
        resolve();
      });
    });
  }

  /**
   * Dials the agent and authenticates both sides.
   * @throws SmartVMError AGENT_UNREACHABLE while the agent is not up, or is not the one with this VM's key; CANCELED
   */
  static async open(options: GuestConnectionOptions): Promise<GuestConnection> {
    const { client, socket } = await shakeHands(options);
    return new GuestConnection(client, socket, options);
  }

  async open(argv: readonly string[], options: SpawnOptions = {}): Promise<GuestCommand> {
    if (options.limits) {
      assertProtocol(this.#protocol, 2, 'a command with limits');
    }
    return await this.#session(`smartvm-exec ${spawnRequest(argv, options)}`);
  }

  async files(request: object): Promise<GuestCommand> {
    assertProtocol(this.#protocol, 2, '`files`');
    return await this.#session(`smartvm-files ${JSON.stringify(request)}`);
  }

  async spawn(argv: readonly string[], options: SpawnProcessOptions = {}): Promise<GuestProcess> {
    return await this.#spawn(argv, options);
  }

  async openTerminal(
    argv: readonly string[] | undefined,
    size: TerminalSize & { term: string },
    options: SpawnProcessOptions = {},
  ): Promise<GuestProcess> {
    return await this.#spawn(argv, options, size);
  }

  async #spawn(
    argv: readonly string[] | undefined,
    options: SpawnProcessOptions,
    terminal?: TerminalSize & { term: string },
  ): Promise<GuestProcess> {
    const { detached = false, stdin = 'pipe' } = options;
    assertProtocol(this.#protocol, 2, 'spawn()');
    const request = spawnRequest(argv, options, { spawned: { outlives: detached, noInput: stdin === 'ignore' } });
    const channel = await this.#openChannel(`smartvm-exec ${request}`, terminal);
    return await SpawnedProcess.started(channel, () => this.#noExit(), argv ?? ['the login shell'], detached);
  }

  async dial(address: GuestAddress): Promise<Duplex> {
    const channel = await this.#opened<Channel>(
      (done) => askForSocket(this.#client, address, done),
      (cause) => unreachable(address, cause),
    );
    return this.#socket(channel);
  }

  async listen(address: GuestAddress, take: (socket: Duplex) => void): Promise<GuestListener> {
    const bound = await this.#opened<GuestAddress>(
      (done) => this.#incoming.listen(address, (channel) => take(this.#socket(channel)), done),
      (cause) =>
        new SmartVMError(
          'AGENT_FAILED',
          `the guest cannot listen at ${formatGuestAddress(address)}: somebody does there, or it has no such address`,
          { cause, details: { ...address } },
        ),
    );
    return { address: bound, stop: () => this.#incoming.stop(bound, this.closed) };
  }

  async connect(pid: number): Promise<GuestProcess> {
    assertProtocol(this.#protocol, 2, 'connect()');
    const channel = await this.#openChannel(`smartvm-attach ${JSON.stringify({ pid })}`);
    return await SpawnedProcess.joined(channel, () => this.#noExit(), pid);
  }

  async spawnDetached(argv: readonly string[], options: SpawnDetachedOptions = {}): Promise<() => void> {
    const { console = false, endsVm = false } = options;
    const session = await this.#session(
      `smartvm-exec ${spawnRequest(argv, options, { detached: { console, endsVm } })}`,
    );
    session.stdin.on('error', () => undefined);
    await assertStarted(argv, session);
    return () => session.destroy();
  }

  /**
   * Sets the guest's network up anew, or, without a change, waits until it is set up.
   * @throws SmartVMError GUEST_NETWORK_FAILED, AGENT_FAILED, AGENT_UNREACHABLE
   */
  async network(change?: GuestNetworkChange): Promise<readonly GuestInterfaceStatus[]> {
    return interfacesOf(await this.control('network', change ?? {}, 2));
  }

  /**
   * Gives a guest that came out of a snapshot, and has its twin's, a name and a network of its own.
   * @throws SmartVMError GUEST_NETWORK_FAILED, AGENT_FAILED, AGENT_UNREACHABLE
   */
  async renumber(hostname: string, attachments: readonly NetworkAttachment[]): Promise<void> {
    await this.network({ hostname, network: renumbered(attachments, await this.network()) });
  }

  async control(verb: string, parameters: object = {}, since = 1): Promise<unknown> {
    assertProtocol(this.#protocol, since, `'${verb}'`);
    const channel = await this.#openChannel(`smartvm-agent ${verb} ${JSON.stringify(parameters)}`);
    channel.stderr.resume();
    let answer = '';
    try {
      for await (const text of channel.setEncoding('utf8') as AsyncIterable<string>) {
        answer += text;
        if (answer.length > MAX_CONTROL_ANSWER_BYTES) {
          throw new Error('the answer does not end');
        }
      }
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

  /**
   * Asks the guest to end itself in order. `reboot` ends a Firecracker on x86, where a power-off does not. True where the image's own init
   * does it.
   */
  async shutdown(mode: 'reboot' | 'poweroff'): Promise<boolean> {
    const { init } = (await this.control('shutdown', { mode })) as { init?: unknown };
    return init === 'image';
  }

  /** Ends the connection; processes that it started are ended by the agent. */
  close(reason?: SmartVMError): void {
    this.#lost ??= reason ?? new SmartVMError('AGENT_UNREACHABLE', 'the connection to the guest agent is closed');
    this.#client.destroy();
  }

  async #session(request: string): Promise<SshProcess> {
    return new SshProcess(await this.#openChannel(request), () => this.#noExit());
  }

  #socket(channel: Channel): GuestSocket {
    this.#hold(channel);
    return new GuestSocket(channel, () => this.#lossBehindEnd());
  }

  #hold(channel: Channel): void {
    holdToWindow(channel, () => {
      this.#lose(new Error('it sends more than it may'));
      this.#client.destroy();
    });
  }

  async #openChannel(command: string, terminal?: TerminalSize & { term: string }): Promise<ClientChannel> {
    const channel = await this.#opened<ClientChannel>(
      (done) => this.#client.exec(command, terminal ? { pty: { ...terminal, width: 0, height: 0 } } : {}, done),
      (cause) =>
        new SmartVMError('AGENT_FAILED', `the guest agent refused a command: ${(cause as Error).message}`, { cause }),
    );
    this.#hold(channel);
    return channel;
  }

  /** What the agent gives when it is asked. */
  async #opened<T>(
    ask: (done: (error: Error | undefined, value: T) => void) => void,
    refusal: (cause: unknown) => SmartVMError,
  ): Promise<T> {
    if (this.#lost) {
      throw await this.#loss();
    }
    try {
      return await new Promise((resolve, reject) => {
        // A request that the agent has not answered yet is forgotten when the connection ends.
        void this.closed.then(() => reject(new Error('the connection ended')));
        ask((error, value) => (error ? reject(error) : resolve(value)));
      });
    } catch (cause) {
      if (this.#lost) {
        throw await this.#loss();
      }
      throw refusal(cause);
    }
  }

  #lose(cause?: Error): void {
    const why = cause ? `: ${cause.message}` : '';
    this.#lost ??= new SmartVMError('AGENT_UNREACHABLE', `the connection to the guest agent was lost${why}`, { cause });
  }

  /** Why a channel closed without saying how its process ended. */
  async #noExit(): Promise<unknown> {
    // The channels of a connection that is lost close a moment before it says so itself.
    await new Promise(setImmediate);
    return this.#lost
      ? await this.#loss()
      : new SmartVMError('AGENT_FAILED', 'a command was ended without its exit status');
  }

  /** The reason when a stream has ended because the connection is lost; undefined for an end that the guest has said. */
  async #lossBehindEnd(): Promise<Error | undefined> {
    await new Promise(setImmediate); // as in #noExit()
    return this.#lost ? ((await this.#loss()) as Error) : undefined;
  }

  async #loss(): Promise<unknown> {
    return await this.#explain(this.#lost as SmartVMError);
  }
}
