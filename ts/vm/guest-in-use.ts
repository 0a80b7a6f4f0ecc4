import type { Duplex } from 'node:stream';
import type { NetworkAttachment } from '../config/network.js';
import type { SmartVMError } from '../errors.js';
import type {
  Guest,
  GuestCommand,
  GuestInterfaceStatus,
  GuestListener,
  GuestNetworkChange,
  GuestProcess,
  SpawnDetachedOptions,
  SpawnOptions,
  SpawnProcessOptions,
  TerminalSize,
} from '../guest/types.js';

type GuestAddress = Parameters<Guest['dial']>[0];

/** A guest whose commands and connections are counted while they last. */
export class GuestInUse implements Guest {
  readonly #guest: Guest;
  readonly #begin: () => Promise<() => void>;

  /** @param begin counts a command, until what it gives is called */
  constructor(guest: Guest, begin: () => Promise<() => void>) {
    this.#guest = guest;
    this.#begin = begin;
  }

  get closed(): Promise<void> {
    return this.#guest.closed;
  }

  async open(argv: readonly string[], options?: SpawnOptions): Promise<GuestCommand> {
    return await this.#counted(() => this.#guest.open(argv, options));
  }

  async files(request: object): Promise<GuestCommand> {
    return await this.#counted(() => this.#guest.files(request));
  }

  async spawn(argv: readonly string[], options?: SpawnProcessOptions): Promise<GuestProcess> {
    return await this.#counted(() => this.#guest.spawn(argv, options));
  }

  async openTerminal(
    argv: readonly string[] | undefined,
    terminal: TerminalSize & { term: string },
    options?: SpawnProcessOptions,
  ): Promise<GuestProcess> {
    return await this.#counted(() => this.#guest.openTerminal(argv, terminal, options));
  }

  async connect(pid: number): Promise<GuestProcess> {
    return await this.#counted(() => this.#guest.connect(pid));
  }

  /** Until the command has ended, or has been let go of. */
  async #counted<T extends GuestCommand>(start: () => Promise<T>): Promise<T> {
    const end = await this.#begin();
    try {
      const child = await start();
      child.wait().then(end, end);
      return child;
    } catch (error) {
      end();
      throw error;
    }
  }

  async dial(address: GuestAddress): Promise<Duplex> {
    const end = await this.#begin();
    try {
      const socket = await this.#guest.dial(address);
      socket.closed ? end() : socket.once('close', end);
      return socket;
    } catch (error) {
      end();
      throw error;
    }
  }

  async listen(address: GuestAddress, take: (socket: Duplex) => void): Promise<GuestListener> {
    return await this.#guest.listen(address, (socket) => {
      take(socket);
      this.#begin().then(
        (end) => (socket.closed ? end() : socket.once('close', end)),
        () => socket.destroy(), // the VM's idle time has just come
      );
    });
  }

  /** It is counted until it runs: nobody waits for its end. */
  async spawnDetached(argv: readonly string[], options?: SpawnDetachedOptions): Promise<() => void> {
    const end = await this.#begin();
    try {
      return await this.#guest.spawnDetached(argv, options);
    } finally {
      end();
    }
  }

  async control(verb: string, parameters?: object, since?: number): Promise<unknown> {
    return await this.#guest.control(verb, parameters, since);
  }

  async network(change?: GuestNetworkChange): Promise<readonly GuestInterfaceStatus[]> {
    return await this.#guest.network(change);
  }

  async renumber(hostname: string, attachments: readonly NetworkAttachment[]): Promise<void> {
    await this.#guest.renumber(hostname, attachments);
  }

  async shutdown(mode: 'reboot' | 'poweroff'): Promise<boolean> {
    return await this.#guest.shutdown(mode);
  }

  close(reason?: SmartVMError): void {
    this.#guest.close(reason);
  }
}
