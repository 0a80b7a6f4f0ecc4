import { assertEgress, type Egress } from '../config/egress.js';
import type { NetworkAttachment } from '../config/network.js';
import type { InterfaceCounters, NetworkEvent, WatchOptions } from '../config/network-events.js';
import { type PublishedPort, publishedPorts } from '../config/publish.js';
import { SmartVMError } from '../errors.js';
import type { Publication } from '../vmm/published-ports.js';

/** An interface of a VM in a network of this host. */
export interface VmInterface {
  readonly attachment: NetworkAttachment;
  /** By which addresses it is known to the host and the network: others than its own in a network of mode `netns`. */
  readonly wire: NetworkAttachment;
  readonly egress: Egress;
  /** Those of the host that lead to it. */
  readonly ports: readonly PublishedPort[];
}

type Bind = (publication: Publication) => Promise<PublishedPort[]>;

/** The networks of this host, as far as one VM is concerned. */
export interface VmNetworkAccess {
  readonly interfaces: () => Promise<readonly VmInterface[]>;
  readonly change: (
    ifaceId: string,
    change: { readonly egress?: Egress; readonly ports?: readonly PublishedPort[] },
  ) => Promise<void>;
  readonly counters: () => Promise<readonly InterfaceCounters[]>;
  readonly watch: (options: WatchOptions) => AsyncGenerator<NetworkEvent, void, undefined>;
}

/**
 * What a VM has of the networks of this host, whatever program it is that put it there or changed it since: each call asks the host.
 * TAPs that a configuration names are none of it.
 */
export class VmNetwork {
  readonly #id: string;
  readonly #access: VmNetworkAccess | undefined;
  readonly #bind: Bind;

  /** @param access undefined for a VM that is in no network @param bind has the VM's keeper hold ports of the host */
  constructor(id: string, access: VmNetworkAccess | undefined, bind: Bind) {
    this.#id = id;
    this.#access = access;
    this.#bind = bind;
  }

  /** Its interfaces, by their ids; none before the start and after the end. */
  async interfaces(): Promise<readonly VmInterface[]> {
    return (await this.#access?.interfaces()) ?? [];
  }

  /** Its addresses, of IPv4 and IPv6, those of the first interface first. */
  async addresses(): Promise<string[]> {
    const attachments = (await this.interfaces()).map(({ attachment }) => attachment);
    return attachments.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].filter((address) => address !== undefined));
  }

  /** The ports of the host that lead to ports of its own; where any that is free was asked for, that which it is. */
  async published(): Promise<PublishedPort[]> {
    return (await this.interfaces()).flatMap(({ ports }) => ports);
  }

  /**
   * Changes where the guest may open connections to, from now on. Connections that are no longer allowed are cut.
   * @param ifaceId of the one interface that is meant; default: all
   * @throws SmartVMError INVALID_OPTION, VM_NOT_FOUND where it has no such interface in a network, NETWORK_UNSUPPORTED, NETWORK_FAILED
   */
  async setEgress(egress: Egress, ifaceId?: string): Promise<void> {
    assertEgress(egress);
    for (const { attachment } of await this.#named(ifaceId)) {
      await this.#access?.change(attachment.ifaceId, { egress });
    }
  }

  /**
   * Replaces the ports of the host that lead to ports of its first interface. Connections to those that stay, stay.
   * @returns which they are
   * @throws SmartVMError PORT_TAKEN with nothing changed, INVALID_OPTION, NO_CLIENT, VM_NOT_FOUND where it is in no network, NETWORK_FAILED
   */
  async publish(ports: readonly (string | PublishedPort)[]): Promise<PublishedPort[]> {
    const wanted = publishedPorts(ports);
    const [first] = await this.#named(undefined);
    const guest = first?.wire.ipv4 ?? first?.wire.ipv6;
    if (!first || guest === undefined) {
      return [];
    }
    const bound = await this.#bind({ guest, ports: wanted });
    try {
      await this.#access?.change(first.attachment.ifaceId, { ports: bound });
      return bound;
    } catch (error) {
      await this.#bind({ guest, ports: first.ports });
      throw error;
    }
  }

  /** What the host has refused of its interfaces since they were let in. @throws SmartVMError NET_ADMIN_MISSING, NETWORK_FAILED */
  async counters(): Promise<readonly InterfaceCounters[]> {
    return (await this.#access?.counters()) ?? [];
  }

  /**
   * What is refused to the guest from now on, and what becomes of its interfaces on the host: looked at once a second, for as long as it
   * is asked for. Rules and bridges that somebody has removed are made again. It ends with the VM.
   * @throws SmartVMError NET_ADMIN_MISSING, NETWORK_FAILED
   */
  async *watch(options: WatchOptions = {}): AsyncGenerator<NetworkEvent, void, undefined> {
    yield* this.#access?.watch(options) ?? [];
  }

  /** @throws SmartVMError VM_NOT_FOUND */
  async #named(ifaceId: string | undefined): Promise<VmInterface[]> {
    const all = await this.interfaces();
    const meant = all.filter(({ attachment }) => ifaceId === undefined || attachment.ifaceId === ifaceId);
    if (meant.length === 0) {
      const which = ifaceId === undefined ? 'no interface' : `no interface ${ifaceId}`;
      throw new SmartVMError('VM_NOT_FOUND', `VM ${this.#id} has ${which} in a network of this host`, {
        details: { id: this.#id, ifaceId },
      });
    }
    return meant;
  }
}
