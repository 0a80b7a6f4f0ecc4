import type { NetworkInterface, NetworkInterfaceUpdate } from '../api/bodies.js';
import { Fault } from '../fault.js';
import { normalized, updated } from './rate-limiter.js';
import type { Tap } from './tap.js';

const MIN_MTU = 68;

/** A network interface that holds its TAP. */
export interface CheckedInterface {
  readonly config: NetworkInterface;
  readonly tap: Tap;
  /** The configured one, or one of our own: the guest draws its own on Firecracker, but QEMU gives every VM the same. */
  readonly mac: string;
  /** Whether the MMDS answers on it. */
  readonly hasMmds: boolean;
}

export class InterfaceList {
  readonly #interfaces: CheckedInterface[] = [];

  /**
   * Adds an interface, or replaces the one with its id, whose TAP is let go first.
   * @param keptMac the address that a guest restored from a snapshot knows; by default an unconfigured one is drawn
   * @throws Fault
   */
  async insert(config: NetworkInterface, keptMac?: string): Promise<void> {
    const { iface_id: id, guest_mac: mac } = config;
    if (
      mac !== null &&
      this.#interfaces.some((other) => other.config.guest_mac === mac && other.config.iface_id !== id)
    ) {
      throw new Fault(`Network config error: The MAC address is already in use: ${mac}`);
    }
    await this.#remove(id);
    const { openTap } = await import('./tap.js');
    const refusal = 'Network config error: Could not create the network device:';
    const tap = await openTap(config.host_dev_name).catch((error: Error) => {
      throw new Fault(`${refusal} Open tap device failed: ${error.message}`);
    });
    if (config.mtu !== null && config.mtu < MIN_MTU) {
      await tap.close();
      throw new Fault(`${refusal} MTU ${config.mtu} is out of range [68, 65535]`);
    }
    this.#interfaces.push({
      config: {
        ...config,
        host_dev_name: tap.name,
        rx_rate_limiter: normalized(config.rx_rate_limiter),
        tx_rate_limiter: normalized(config.tx_rate_limiter),
      },
      tap,
      mac: mac ?? keptMac ?? randomMac(),
      hasMmds: false,
    });
  }

  /** Takes up the new limits. False when there is no interface with that id. */
  updateLimits(update: NetworkInterfaceUpdate): boolean {
    const index = this.#interfaces.findIndex((other) => other.config.iface_id === update.iface_id);
    const current = this.#interfaces[index];
    if (!current) {
      return false;
    }
    const config = {
      ...current.config,
      rx_rate_limiter: updated(current.config.rx_rate_limiter, update.rx_rate_limiter),
      tx_rate_limiter: updated(current.config.tx_rate_limiter, update.tx_rate_limiter),
    };
    this.#interfaces[index] = { ...current, config };
    return true;
  }

  /** Lets the MMDS answer on these interfaces and on no others. */
  setMmds(ids: readonly string[]): void {
    for (const [index, entry] of this.#interfaces.entries()) {
      this.#interfaces[index] = { ...entry, hasMmds: ids.includes(entry.config.iface_id) };
    }
  }

  get all(): readonly CheckedInterface[] {
    return this.#interfaces;
  }

  /** As `GET /vm/config` answers them. */
  present(): NetworkInterface[] {
    return this.#interfaces.map(({ config }) => config);
  }

  /** The last one takes the place of the one removed: Firecracker's order. */
  async #remove(id: string): Promise<void> {
    const index = this.#interfaces.findIndex((other) => other.config.iface_id === id);
    const old = this.#interfaces[index];
    const last = this.#interfaces.at(-1);
    if (old && last) {
      this.#interfaces[index] = last;
      this.#interfaces.pop();
      await old.tap.close();
    }
  }
}

function randomMac(): string {
  const random = crypto.getRandomValues(new Uint8Array(5));
  return ['02', ...Array.from(random, (byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
