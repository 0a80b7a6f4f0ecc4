import type { Egress } from './egress.js';

/**
 * How VMs of a network reach the world. `nat`: over a bridge of the network's own, behind the host's addresses. `bridge`: as ports
 * of a bridge that is there. `netns`: as `nat`, each VM in a network namespace in which all have the same address. `none`: not at
 * all; there is no interface. `user`: by the VMM itself, without any right on the host; `smartvm-qemu` alone.
 */
export type NetworkMode = 'nat' | 'bridge' | 'netns' | 'none' | 'user';

/** A network of this host, by which every program of it knows it. */
export interface NetworkDefinition {
  /** 1 to 64 letters, digits or hyphens. */
  readonly name: string;
  readonly mode: NetworkMode;
  /** Of the host, 1 to 15 characters. In mode `bridge` it is there already; otherwise it is made and removed. */
  readonly bridge: string;
  /** CIDR, /8 to /30. The first address is the gateway's. */
  readonly ipv4: string;
  /** Of the VMs. Default: the first address, which is the host's unless the mode is `bridge`. */
  readonly gateway?: string | undefined;
  /** CIDR of unique local addresses (RFC 4193), /64 to /112. Absent: no IPv6. */
  readonly ipv6?: string | undefined;
  /** Bytes, 576 to 65,535; at least 1,280 with IPv6. Default: 1,500, or that of `via`. */
  readonly mtu?: number | undefined;
  /** Addresses of resolvers. Default: those of the host that a VM can reach. */
  readonly dns?: readonly string[] | undefined;
  readonly egress: Egress;
  /** Whether its VMs are kept from each other. */
  readonly isolated: boolean;
  /** The interface of the host by which all of it leaves. Default: as the host's routes say. */
  readonly via?: string | undefined;
}

/** What a VM asks of a network for one of its interfaces. */
export interface NetworkRequest {
  /** Default `default`. */
  readonly network?: string | undefined;
  /** Default `eth0`. An interface of this id in the VM's configuration is the one that is meant; its TAP is not named there. */
  readonly ifaceId?: string | undefined;
  /** An address of the network that is to be this VM's. Default: one that is free. */
  readonly ipv4?: string | undefined;
  readonly ipv6?: string | undefined;
  /** Default: one that is always the same for this VM and interface. */
  readonly mac?: string | undefined;
  /** In place of the network's. */
  readonly dns?: readonly string[] | undefined;
  /** In place of the network's. */
  readonly egress?: Egress | undefined;
  /** A TAP with several queues. Default false. */
  readonly multiQueue?: boolean | undefined;
}

/** What a VM has of a network. */
export interface NetworkAttachment {
  readonly network: string;
  readonly ifaceId: string;
  /** The interface of the host at which the VM's frames arrive. */
  readonly tapName: string;
  readonly mac: string;
  readonly ipv4?: string | undefined;
  readonly ipv6?: string | undefined;
  /** Bits of the network part of each. */
  readonly prefixes: { readonly ipv4?: number | undefined; readonly ipv6?: number | undefined };
  readonly gateways: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined };
  readonly dns: readonly string[];
  /** Bytes. */
  readonly mtu: number;
}
