import { randomBytes } from 'node:crypto';
import { SmartVMError } from '../errors.js';
import type { DialGuest, Guest } from '../guest/types.js';
import { delay, withDeadline } from '../util/deadline.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
import { GuestInUse } from './guest-in-use.js';

export interface GuestLinkOptions {
  /** Absent when the guest has yet to be reached. */
  guest: Guest | undefined;
  dial: DialGuest;
  vmm: VmmProcess;
  /** Whether the guest should answer at the moment: one that is paused or is being ended need not. */
  expectsAnswer: () => boolean;
  /** Whether the guest is from a snapshot: it has its twin's time and random bytes. */
  restored: boolean;
  /** What a guest is to be told when it is resumed, as soon as it is reached. */
  onResume?: ((reached: () => Promise<Guest>) => Promise<void>) | undefined;
  /** Milliseconds of silence after which a guest whose connection broke counts as shut down. Default 10,000. */
  goneAfterMs: number | undefined;
}

const DEFAULT_GONE_AFTER_MS = 10_000;
const REDIAL_MS = 100;
const DIAL_TIMEOUT_MS = 2_000;
const WAKE_TIMEOUT_MS = 1_000;
const SEED_BYTES = 64;

/**
 * The connection to a guest's agent, made anew when it breaks: a snapshot resets it. An agent that does not come back while
 * its VMM is well has shut its guest down, for it is the guest's first process: on x86_64 Firecracker outlives the guest's
 * power-off, and is ended here.
 */
export class GuestLink {
  readonly #options: GuestLinkOptions;
  #guest: Guest | undefined;
  #reconnecting: Promise<boolean>;
  #hasShutDown = false;
  #closed = false;

  constructor(options: GuestLinkOptions) {
    this.#options = options;
    this.#guest = options.guest;
    this.#reconnecting = options.guest ? Promise.resolve(true) : this.#reconnect();
    if (options.guest && options.restored) {
      void wake(options.guest);
    }
    void this.#watch();
  }

  /** Whether the VMM was ended here, because its guest had shut itself down. */
  get hasShutDown(): boolean {
    return this.#hasShutDown;
  }

  /**
   * The guest, when a connection that broke is there again. What runs in it by this is counted as use of it.
   * @throws SmartVMError AGENT_UNREACHABLE, or VMM_EXITED, when the VM ended before the guest was ever reached
   */
  async guest(): Promise<Guest> {
    const { vmm } = this.#options;
    await this.#reconnecting;
    if (!this.#guest) {
      throw vmm.exitError ?? new SmartVMError('AGENT_UNREACHABLE', 'the guest agent was never reached');
    }
    return new GuestInUse(this.#guest, () => vmm.life.useGuest());
  }

  /**
   * Tells a guest that stood still what it has missed. One that does not answer in time goes on without the time.
   * @throws SmartVMError GUEST_NETWORK_FAILED, AGENT_UNREACHABLE, VMM_EXITED for one that is to be given addresses of its own
   */
  async wake(): Promise<void> {
    const told = this.#reconnecting.then(() => this.#guest && wake(this.#guest));
    await withDeadline(told, WAKE_TIMEOUT_MS, () => new Error('no answer')).catch(() => undefined);
    await this.#options.onResume?.(() => this.guest());
  }

  /** Ends the connection, and the watch over the guest. */
  close(reason?: SmartVMError): void {
    this.#closed = true;
    this.#guest?.close(reason);
  }

  /** The guest by the connection that there is, broken or not. */
  get current(): Guest | undefined {
    return this.#guest;
  }

  async #watch(): Promise<void> {
    const { vmm } = this.#options;
    for (;;) {
      if (!(await this.#reconnecting)) {
        this.#hasShutDown = true;
        await vmm.kill();
      }
      if (vmm.exit || this.#closed) {
        return;
      }
      await Promise.race([this.#guest?.closed, vmm.exited]);
      this.#reconnecting = this.#reconnect();
    }
  }

  /** False for a guest that is gone. */
  async #reconnect(): Promise<boolean> {
    const { vmm, dial, expectsAnswer, goneAfterMs = DEFAULT_GONE_AFTER_MS } = this.#options;
    for (let silentSince = performance.now(); !vmm.exit && !this.#closed; ) {
      if (!expectsAnswer()) {
        silentSince = performance.now();
      } else {
        try {
          const guest = await dial({ timeoutMs: DIAL_TIMEOUT_MS, explain: (error) => vmm.explain(error) });
          this.#guest = guest;
          if (this.#closed) {
            guest.close(); // meanwhile nobody wants it any more
          } else {
            void wake(guest); // a snapshot may have been what broke the connection
          }
          return true;
        } catch {
          // The next try or the deadline decides.
        }
        if (performance.now() - silentSince >= goneAfterMs && expectsAnswer() && (await isWell(vmm))) {
          return false;
        }
      }
      await Promise.race([delay(REDIAL_MS), vmm.exited]);
    }
    return true;
  }
}

/** Gives a guest the host's time, and random bytes. An older agent takes what it knows. */
async function wake(guest: Guest): Promise<void> {
  await Promise.allSettled([
    guest.control('clock', { timeMs: Date.now() }),
    guest.control('seed', { seed: randomBytes(SEED_BYTES).toString('base64') }, 2),
  ]);
}

async function isWell(vmm: VmmProcess): Promise<boolean> {
  return await vmm.api.describeInstance().then(
    ({ state }) => state === 'Running',
    () => false,
  );
}
