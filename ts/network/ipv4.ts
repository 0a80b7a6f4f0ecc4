import { isIPv4 } from 'node:net';

/** An IPv4 address as an unsigned 32-bit number. */
export type Ipv4 = number;

export interface Ipv4Subnet {
  readonly network: Ipv4;
  readonly broadcast: Ipv4;
  readonly mask: Ipv4;
  /** Bits of the network part, 8 to 30: a /31 or /32 has no room for a gateway, a guest and a broadcast address. */
  readonly prefix: number;
}

/** The address in dotted decimal notation of exactly four octets without leading zeros; undefined for anything else. */
export function parseIpv4(text: string): Ipv4 | undefined {
  return isIPv4(text) ? text.split('.').reduce((address, octet) => address * 256 + Number(octet), 0) : undefined;
}

export function formatIpv4(address: Ipv4): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** The subnet of CIDR notation; host bits are dropped. Undefined for anything else than IPv4/8 to IPv4/30. */
export function parseSubnet(text: string): Ipv4Subnet | undefined {
  const [, addressText = '', prefixText = ''] = /^([\d.]+)\/([89]|[12]\d|30)$/.exec(text) ?? [];
  const address = parseIpv4(addressText);
  if (address === undefined) {
    return undefined;
  }
  const prefix = Number(prefixText);
  const hostBits = 2 ** (32 - prefix) - 1;
  const mask = 2 ** 32 - 1 - hostBits;
  // '>>> 0': JavaScript's bit operations are signed.
  const network = (address & mask) >>> 0;
  return { network, broadcast: network + hostBits, mask, prefix };
}
