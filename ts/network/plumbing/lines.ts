import type { NetworkAttachment, NetworkDefinition } from '../../config/network.js';
import { digest, macFrom } from '../names.js';
import { poolOf } from '../subnet.js';
import { aliasOf, ownerOf } from './alias.js';

/**
 * Lines of ip(8) that make the bridge of a network, or repair one that is there: each but the first two may be said again. Its MAC is
 * always the same: by itself a bridge takes that of a port, and guests would lose their gateway with a neighbour.
 */
export function bridgeUp({ bridge, ipv4, ipv6 }: NetworkDefinition, mtu: number): string[] {
  const isNew = ownerOf(bridge) === 'absent';
  const mac = macFrom(digest('bridge', bridge));
  return [
    ...(isNew
      ? [
          `link add name ${bridge} address ${mac} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
          `link set dev ${bridge} alias ${aliasOf(bridge)} addrgenmode none`,
        ]
      : []),
    `addr replace ${poolOf(ipv4).gateway}/${poolOf(ipv4).range.prefix} dev ${bridge}`,
    `link set dev ${bridge} mtu ${mtu} up`,
    // A link that is up takes addresses of IPv6 without asking whether others have them.
    ...(ipv6 === undefined
      ? []
      : [
          `addr replace ${poolOf(ipv6).gateway}/${poolOf(ipv6).range.prefix} dev ${bridge} nodad`,
          gatewayLinkLocal(bridge),
        ]),
  ];
}

/**
 * The line that gives a gateway a link-local address. From theirs, guests ask whether it is still there; without one of its own it
 * has no route to answer by, and is lost to them for seconds each time.
 */
function gatewayLinkLocal(device: string): string {
  return `addr replace fe80::1/64 dev ${device} nodad`;
}

/** Lines that make the TAP of a VM, without addresses of the host's own, and a port of the bridge. */
export function tapUp({ tapName, mtu }: NetworkAttachment, port: TapOptions): string[] {
  return [
    `tuntap add dev ${tapName} mode tap vnet_hdr${port.multiQueue ? ' multi_queue' : ''}`,
    ...portUp(tapName, mtu, port),
  ];
}

/** Lines that make a link of ours a port of a bridge. */
export function portUp(name: string, mtu: number, { bridge, isolated }: Omit<TapOptions, 'multiQueue'>): string[] {
  return [
    `link set dev ${name} alias ${aliasOf(name)} address ${portMac(name)} mtu ${mtu} addrgenmode none master ${bridge}`,
    ...(isolated ? [`link set dev ${name} type bridge_slave isolated on`] : []),
    `link set dev ${name} up`,
  ];
}

export interface TapOptions {
  readonly bridge: string;
  readonly isolated: boolean;
  readonly multiQueue: boolean;
}

/** The host's end has the highest MAC of a bridge's ports: one without an address of its own would else take it. */
function portMac(name: string): string {
  return macFrom(digest('port', name)).replace(/^02/, 'fe');
}

/** The line that removes an interface, if it is ours. */
export function linkDown(name: string): string[] {
  return ownerOf(name) === 'ours' ? [`link delete dev ${name}`] : [];
}
