import { isIPv6 } from 'node:net';
import { formatAddress, parseCidr } from '../../util/cidr.js';
import { FRAME_DROPS } from './base.js';
import { interfaceName, key, type NftFamily } from './nft.js';
import type { CompiledEgress } from './policy-chains.js';
import type { BoundPort, PolicyAttachment, PolicyNetwork } from './ruleset.js';

/** Elements of one set or map. */
export interface ElementSet {
  readonly family: NftFamily;
  readonly name: string;
  readonly elements: readonly string[];
}

const inet = (name: string, ...elements: string[]): ElementSet => ({ family: 'inet', name, elements });
const bridge = (name: string, ...elements: string[]): ElementSet => ({ family: 'bridge', name, elements });

export function networkSets({ bridge: bridgeName, owned, isolated, ipv4, ipv6, via }: PolicyNetwork): ElementSet[] {
  if (!owned) {
    return [];
  }
  const name = interfaceName(bridgeName);
  return [
    inet('bridges', name),
    ...(isolated ? [] : [inet('open', key(name, name))]),
    ...(via === undefined ? [] : [inet('via_only', name), inet('via', key(name, interfaceName(via)))]),
    ...(ipv4 === undefined ? [] : [inet('nat4', prefix(ipv4))]),
    ...(ipv6 === undefined ? [] : [inet('nat6', prefix(ipv6))]),
  ];
}

/** An address as nft prints it, so that what it lists can be found again. */
function canonical(address: string): string {
  const parsed = parseCidr(address);
  return parsed ? formatAddress(parsed) : address;
}

function prefix(text: string): string {
  const range = parseCidr(text);
  return range ? `${formatAddress(range)}/${range.prefix}` : text;
}

export function attachmentSets(
  given: PolicyAttachment,
  policy: CompiledEgress,
  ports: readonly BoundPort[],
): ElementSet[] {
  const { owned } = given.network;
  const attachment = {
    ...given,
    mac: given.mac.toLowerCase(),
    ipv6: given.ipv6 === undefined ? undefined : canonical(given.ipv6),
  };
  return [
    ...wireSets(attachment),
    ...(owned ? policySets(attachment, policy) : []),
    ...(owned ? ports.flatMap((port) => portSets(attachment, port)) : []),
  ];
}

/** What frames of a wire may say that they come from. */
function wireSets({ network, port: portName, mac, ipv4, ipv6 }: PolicyAttachment): ElementSet[] {
  const port = interfaceName(portName);
  const drops = FRAME_DROPS.filter((name) => name !== 'isolated' || network.isolated);
  const addresses6 = ipv6 === undefined ? [] : [ipv6, linkLocal(mac)];
  return [
    bridge('ports', port),
    ...drops.map((name) => bridge(name, port)),
    bridge('macs', key(port, mac)),
    ...(ipv4 === undefined ? [] : [bridge('senders', key(port, mac, ipv4)), bridge('sources4', key(port, ipv4))]),
    ...(ipv6 === undefined ? [] : [bridge('sources6', ...addresses6.map((address) => key(port, address)))]),
    ...(ipv6 === undefined
      ? []
      : [bridge('targets6', ...addresses6.map((address) => key(port, hexadecimal(address))))]),
    ...(ipv4 === undefined && ipv6 === undefined ? [bridge('unaddressed', port)] : []),
  ];
}

function policySets({ mac, ipv4, ipv6 }: PolicyAttachment, policy: CompiledEgress): ElementSet[] {
  const verdict = (address: string, chain: string) => `${address} : goto ${chain}`;
  const family = (number: 4 | 6, address: string, ...local: string[]) => [
    inet(`egress${number}`, verdict(address, policy.egress)),
    inet(`host${number}`, ...[address, ...local].map((one) => verdict(one, policy.host))),
    inet(`denied${number}`, address, ...local),
  ];
  return [
    ...(ipv4 === undefined ? [] : family(4, ipv4)),
    ...(ipv6 === undefined ? [] : family(6, ipv6, linkLocal(mac))),
  ];
}

/** A network that leaves by one interface alone has no answers to give by another: its ports are the proxy's, not translated. */
function portSets({ network, ipv4, ipv6 }: PolicyAttachment, port: BoundPort): ElementSet[] {
  const { hostIp, hostPort, guestPort, protocol } = port;
  const family = (number: 4 | 6, guest: string | undefined) => {
    const all = hostIp === undefined || hostIp === (number === 4 ? '0.0.0.0' : '::');
    if (guest === undefined || network.via !== undefined || !(all || isIPv6(hostIp) === (number === 6))) {
      return [];
    }
    const to = key(guest, guestPort);
    return [
      inet(`inbound${number}`, key(guest, protocol, guestPort)),
      all
        ? inet(`published_any${number}`, `${key(protocol, hostPort)} : ${to}`)
        : inet(`published${number}`, `${key(canonical(hostIp), protocol, hostPort)} : ${to}`),
    ];
  };
  return [...family(4, ipv4), ...family(6, ipv6)];
}

/** The link-local address that a guest's kernel makes of its MAC (RFC 4291, appendix A). */
export function linkLocal(mac: string): string {
  const octets = mac.split(':').map((octet) => Number.parseInt(octet, 16));
  const [first = 0, ...rest] = octets;
  const identifier = [first ^ 2, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)];
  const tail = identifier.reduce((value, octet) => (value << 8n) | BigInt(octet), 0n);
  return formatAddress({ family: 6, first: (0xfe80n << 112n) | tail });
}

function hexadecimal(address: string): string {
  return `0x${(parseCidr(address)?.first ?? 0n).toString(16).padStart(32, '0')}`;
}
