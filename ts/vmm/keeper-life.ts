import { get } from 'node:http';
import { join } from 'node:path';
import type { LifetimeOptions } from '../config/lifetime.js';
import { SmartVMError } from '../errors.js';
import type { ApiError } from '../firecracker/api-error.js';
import type { VmmExit } from './exit.js';
import { GuestUse } from './guest-use.js';
import type { Keeper } from './keeper.js';
import { hearKeeper, type KeeperEvent } from './keeper-events.js';
import type { VmStatus } from './registry/state.js';

/** What a program says of a VM. The first word is that of its start, by which the limits begin. */
export interface KeeperWord extends LifetimeOptions {
  readonly state: 'running' | 'paused' | 'stopping';
  /** It was resumed only because it was paused for a snapshot: if its time was up meanwhile, its keeper pauses it again. */
  readonly afterSnapshot?: boolean;
}

/** Limits to set anew; null takes one away, and what is not named stays. */
export type LimitChange = { readonly [Name in 'timeoutMs' | 'idleTimeoutMs']?: number | null | undefined } & Pick<
  LifetimeOptions,
  'onTimeout'
>;

/** A keeper that hangs holds nobody up for longer. */
const WORD_MS = 250;
/** By then what follows a start is done; and what has happened meanwhile, the first event says. */
const HEAR_AFTER_MS = 100;

/** What programs tell a keeper of their VM's life, and hear from it. */
export class KeeperLife {
  readonly #id: string;
  readonly #keeper: Pick<Keeper, 'client' | 'reach' | 'say'>;
  readonly #socketPath: string;
  readonly #over = new AbortController();
  readonly #listeners: ((event: KeeperEvent) => void)[] = [];
  readonly #use = new GuestUse(() => this.#hold());
  #said: Promise<unknown> = Promise.resolve();
  /** Words that have not arrived. */
  #pending = 0;
  #hearing: Promise<VmmExit | undefined> | undefined;
  #soon: NodeJS.Timeout | undefined;
  #standing: KeeperEvent | undefined;
  #isEnded = false;

  /** @param standing how it stands, where that is known */
  constructor(
    id: string,
    runtimeDir: string,
    keeper: Pick<Keeper, 'client' | 'reach' | 'say'>,
    standing?: VmStatus | null,
  ) {
    this.#id = id;
    this.#keeper = keeper;
    this.#use.isLimited = standing?.idleTimeoutMs !== undefined;
    this.#socketPath = join(runtimeDir, 'keeper.sock');
  }

  /** Says it beside whatever is done, one word after the other. That the keeper hears it is not certain: it may be gone. */
  tell(word: KeeperWord): void {
    this.#isEnded ||= word.state === 'stopping';
    this.#pending += 1;
    const put = () => this.#keeper.client.put('/state', word, { timeoutMs: WORD_MS });
    this.#said = this.#said
      .then(() => this.#keeper.reach().then(put))
      .catch(() => undefined)
      .finally(() => {
        this.#pending -= 1;
      });
  }

  /**
   * As {@link tell}, for a word on which the keeper asks no VMM: the first of all, and that the VM is being stopped. Those of its owner
   * take no call, for between them may lie a whole VM.
   */
  tellFast(word: KeeperWord): void {
    if (this.#pending > 0 || !this.#keeper.say) {
      this.tell(word);
      return;
    }
    this.#isEnded ||= word.state === 'stopping';
    this.#keeper.say(word);
  }

  /** Whether this program has said that it ends the VM. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Settles when all that was told has arrived, or will not. */
  get said(): Promise<unknown> {
    return this.#said;
  }

  /**
   * Says that the start is through, and waits until the keeper sees to the limits.
   * @param path `/detached` makes the VM outlive this program, too
   * @throws ApiError
   */
  async begin(word: KeeperWord, path: '/state' | '/detached' = '/state'): Promise<void> {
    await this.#keeper.reach();
    await this.#keeper.client.put(path, word);
    this.#use.isLimited = word.idleTimeoutMs !== undefined;
  }

  /** @throws SmartVMError INVALID_STATE when the VM is being stopped, ApiError */
  async limit(change: LimitChange): Promise<void> {
    try {
      await this.#keeper.client.put('/limits', change);
    } catch (error) {
      const { status, faultMessage } = error as ApiError;
      throw status === 409 ? this.#refused(faultMessage, error) : error;
    }
  }

  /** The keeper's events from a moment later on, the first of which says how it stands then. */
  listen(listener: (event: KeeperEvent) => void): void {
    this.#listeners.push(listener);
    if (this.#standing) {
      listener(this.#standing);
    }
    this.#soon ??= setTimeout(() => void this.exit(), HEAR_AFTER_MS).unref();
  }

  /** Settles with the exit that the keeper tells; with undefined when that is gone without a word, or this was closed. */
  exit(): Promise<VmmExit | undefined> {
    this.#hearing ??= this.#keeper
      .reach()
      .then(() => hearKeeper(this.#socketPath, (event) => this.#hear(event), this.#over.signal));
    return this.#hearing;
  }

  /** Counts a command in the guest, until what it gives is called. @throws SmartVMError INVALID_STATE */
  async useGuest(): Promise<() => void> {
    return await this.#use.begin();
  }

  /** Nothing more is told or heard. */
  close(): void {
    clearTimeout(this.#soon);
    this.#over.abort();
  }

  #hear(event: KeeperEvent): void {
    if (event.state !== undefined) {
      this.#standing = { ...event, event: 'state' };
      this.#use.isLimited = event.idleTimeoutMs !== undefined;
    }
    for (const listener of this.#listeners) {
      listener(event);
    }
  }

  /** Stops the idle clock by a connection, of whose end the kernel tells the keeper whatever becomes of this program. */
  #hold(): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const { signal } = this.#over;
      const request = get({ socketPath: this.#socketPath, path: '/hold', agent: false, signal }, (response) => {
        response.on('error', () => undefined);
        if (response.statusCode === 200) {
          response.resume();
          resolve(() => request.destroy());
          return;
        }
        response.toArray().then(
          (chunks) => reject(this.#refused(faultIn(Buffer.concat(chunks).toString()))),
          () => resolve(() => undefined),
        );
      });
      request.on('socket', (socket) => socket.unref());
      // The keeper is gone, and the VM with it: whoever uses the guest is told so by that.
      request.on('error', () => resolve(() => undefined));
    });
  }

  #refused(why = 'its keeper refuses', cause?: unknown): SmartVMError {
    return new SmartVMError('INVALID_STATE', `VM ${this.#id}: ${why}`, { cause, details: { id: this.#id } });
  }
}

function faultIn(answer: string): string | undefined {
  try {
    return (JSON.parse(answer) as { fault_message?: string }).fault_message;
  } catch {
    return undefined;
  }
}
