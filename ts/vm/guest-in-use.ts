import type { NetworkAttachment } from '../config/network.js';
import type { SmartVMError } from '../errors.js';
import type {
  ExecOptions,
  ExecResult,
  Guest,
  GuestInterfaceStatus,
  GuestNetworkChange,
  GuestProcess,
  SpawnDetachedOptions,
  SpawnOptions,
} from '../guest/types.js';

/** A guest whose commands are counted while they run. */
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

  async spawn(argv: readonly string[], options?: SpawnOptions): Promise<GuestProcess> {
    const end = await this.#begin();
    try {
      const child = await this.#guest.spawn(argv, options);
      child.wait().then(end, end);
      return child;
    } catch (error) {
      end();
      throw error;
    }
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

  async exec(command: string | readonly string[], options?: ExecOptions): Promise<ExecResult> {
    const end = await this.#begin();
    try {
      return await this.#guest.exec(command, options);
    } finally {
      end();
    }
  }

  async network(change?: GuestNetworkChange): Promise<readonly GuestInterfaceStatus[]> {
    return await this.#guest.network(change);
  }

  async renumber(hostname: string, attachments: readonly NetworkAttachment[]): Promise<void> {
    await this.#guest.renumber(hostname, attachments);
  }

  async shutdown(mode: 'reboot' | 'poweroff'): Promise<void> {
    await this.#guest.shutdown(mode);
  }

  close(reason?: SmartVMError): void {
    this.#guest.close(reason);
  }
}
