import { assertInterfaceName, quote } from '../config/ids.js';
import { SmartVMError } from '../errors.js';
import { formatIpv4, type Ipv4, type Ipv4Subnet, parseIpv4, parseSubnet } from './ipv4.js';
import { macOf, tapNameOf } from './names.js';

export interface INetworkManagerOptions {
  /** IPv4 CIDR, /8 to /30; host bits are dropped. Default 172.30.0.0/24. */
  subnet?: string;
  /** Bridge on the host, 1 to 15 characters. Default svbr0. */
  bridgeName?: string;
}

/** A VM's network interface as the host and the guest know it. */
export interface ITapDevice {
  tapName: string;
  guestIp: string;
  gatewayIp: string;
  subnetMask: string;
  mac: string;
}

const DEFAULT_SUBNET = '172.30.0.0/24';
const DEFAULT_BRIDGE = 'svbr0';

/** Addresses and names for the VMs of one subnet. The first address is the gateway's. */
export class NetworkManager {
  readonly bridgeName: string;
  readonly #subnet: Ipv4Subnet;
  readonly #taken = new Set<Ipv4>();
  #next: Ipv4;

  /** @throws SmartVMError INVALID_SUBNET, INVALID_INTERFACE_NAME */
  constructor({ subnet = DEFAULT_SUBNET, bridgeName = DEFAULT_BRIDGE }: INetworkManagerOptions = {}) {
    const parsed = typeof subnet === 'string' ? parseSubnet(subnet) : undefined;
    if (!parsed) {
      throw new SmartVMError(
        'INVALID_SUBNET',
        `subnet ${quote(subnet)} must be IPv4 CIDR notation with a prefix of /8 to /30, like ${DEFAULT_SUBNET}`,
      );
    }
    assertInterfaceName(bridgeName);
    this.bridgeName = bridgeName;
    this.#subnet = parsed;
    this.#next = this.#firstGuest;
  }

  /** The subnet in CIDR notation, without host bits. */
  get subnet(): string {
    return `${formatIpv4(this.#subnet.network)}/${this.#subnet.prefix}`;
  }

  /** Bits of the network part, 8 to 30. */
  get prefixLength(): number {
    return this.#subnet.prefix;
  }

  /** In dotted decimal notation. */
  get subnetMask(): string {
    return formatIpv4(this.#subnet.mask);
  }

  /** The first address of the subnet. */
  get gatewayIp(): string {
    return formatIpv4(this.#subnet.network + 1);
  }

  /**
   * Takes a free address, in ascending order and round again: one that was given back is not handed out at once,
   * while its neighbours still remember who had it.
   * @throws SmartVMError IP_EXHAUSTED
   */
  allocateIp(): string {
    if (this.#taken.size === this.#subnet.broadcast - this.#firstGuest) {
      throw new SmartVMError('IP_EXHAUSTED', `all ${this.#taken.size} guest addresses of ${this.subnet} are taken`, {
        details: { subnet: this.subnet, taken: this.#taken.size },
      });
    }
    while (this.#taken.has(this.#next)) {
      this.#next = this.#after(this.#next);
    }
    const address = this.#next;
    this.#taken.add(address);
    this.#next = this.#after(address);
    return formatIpv4(address);
  }

  /** Gives an address back; false when it was not taken. */
  releaseIp(ip: string): boolean {
    const address = parseIpv4(ip);
    return address !== undefined && this.#taken.delete(address);
  }

  /** The MAC of a VM's interface: always the same one, locally administered and unicast. */
  generateMac(vmId: string, ifaceId: string): string {
    return macOf(vmId, ifaceId);
  }

  /** The TAP name of a VM's interface: always the same one, at most 15 characters, from all of both ids. */
  generateTapName(vmId: string, ifaceId: string): string {
    return tapNameOf(vmId, ifaceId);
  }

  /** The kernel's `ip=` argument (Documentation/admin-guide/nfs/nfsroot.rst) for a guest with one interface. */
  getGuestNetworkBootArgs(tap: ITapDevice): string {
    return `ip=${tap.guestIp}::${tap.gatewayIp}:${tap.subnetMask}::eth0:off`;
  }

  get #firstGuest(): Ipv4 {
    return this.#subnet.network + 2;
  }

  #after(address: Ipv4): Ipv4 {
    return address + 1 === this.#subnet.broadcast ? this.#firstGuest : address + 1;
  }
}
