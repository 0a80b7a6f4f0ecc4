import type { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import type { Guest } from '../types.js';
import { type GuestAddress, guestAddress } from './address.js';
import { assertForward, type ForwardedPort, type ForwardPortOptions, forwardToGuest, guestSideOf } from './forward.js';
import { forwardToHost } from './reverse.js';
import { type WaitForPortOptions, waitForPort } from './wait.js';

/** The connections between this program and ports of one guest. */
export class GuestPorts {
  readonly #guest: () => Promise<Guest>;
  readonly #vm: EventEmitter;
  readonly #open = new Set<ForwardedPort>();
  readonly #urls = new Map<number, Promise<ForwardedPort>>();
  #isWatched = false;
  #isOver = false;

  /** @param vm says `exit` and `released` when it is over with it */
  constructor(guest: () => Promise<Guest>, vm: EventEmitter) {
    this.#guest = guest;
    this.#vm = vm;
  }

  async connect(address: number | GuestAddress): Promise<Duplex> {
    const to = guestAddress(address);
    return await (await this.#guest()).dial(to);
  }

  async waitFor(address: number | GuestAddress, options: WaitForPortOptions): Promise<void> {
    const to = guestAddress(address);
    await waitForPort(to, async () => (await this.#guest()).dial(to), options);
  }

  async forward(options: ForwardPortOptions): Promise<ForwardedPort> {
    assertForward(options);
    await this.#guest(); // one that cannot be reached is told of now, not connection by connection
    this.#watch();
    const address = guestSideOf(options);
    const forwarded = options.reverse
      ? await forwardToHost(options, this.#guest)
      : await forwardToGuest(options, async () => (await this.#guest()).dial(address));
    const close = async () => {
      this.#open.delete(own);
      await forwarded.close();
    };
    const own: ForwardedPort = { ...forwarded, close, [Symbol.asyncDispose]: close };
    this.#open.add(own);
    if (this.#isOver) {
      await close();
      await this.#guest(); // which says why it is over
    }
    return own;
  }

  /** A port of the host's loopback that leads to a TCP port of the guest, one for all who ask. */
  async hostPortOf(guestPort: number): Promise<number> {
    const forwarding = this.#urls.get(guestPort) ?? this.forward({ guestPort });
    this.#urls.set(guestPort, forwarding);
    try {
      const forwarded = await forwarding;
      return forwarded.hostPort ?? 0;
    } catch (error) {
      this.#urls.delete(guestPort);
      throw error;
    }
  }

  #watch(): void {
    if (this.#isWatched) {
      return;
    }
    this.#isWatched = true;
    const close = () => {
      this.#isOver = true;
      this.#urls.clear();
      for (const forwarded of this.#open) {
        void forwarded.close();
      }
    };
    this.#vm.once('exit', close).once('released', close);
  }
}
