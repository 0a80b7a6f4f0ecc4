import { isIPv4, isIPv6 } from 'node:net';

/** A range of addresses: those that have the first `prefix` bits of `first`. */
export interface Cidr {
  readonly family: 4 | 6;
  /** The lowest address, as a number of 32 or 128 bits. */
  readonly first: bigint;
  readonly prefix: number;
}

/** The range of an address, which is one alone, or of CIDR notation, whose host bits are dropped; undefined for anything else. */
export function parseCidr(text: string): Cidr | undefined {
  const [, address = '', length] = /^([\d.a-fA-F:]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const family = isIPv4(address) ? 4 : isIPv6(address) ? 6 : undefined;
  if (family === undefined) {
    return undefined;
  }
  const bits = bitsOf(family);
  const prefix = length === undefined ? bits : Number(length);
  if (prefix > bits) {
    return undefined;
  }
  const value = family === 4 ? ipv4Value(address) : ipv6Value(address);
  const hostBits = BigInt(bits - prefix);
  return { family, first: (value >> hostBits) << hostBits, prefix };
}

/** Whether all addresses of `inner` are addresses of `outer`. */
export function isWithin(inner: Cidr, outer: Cidr): boolean {
  const rest = BigInt(bitsOf(outer.family) - outer.prefix);
  return inner.family === outer.family && inner.prefix >= outer.prefix && inner.first >> rest === outer.first >> rest;
}

/** The lowest address in the one notation that nftables and iproute2 print: dotted decimal, or RFC 5952's. */
export function formatAddress({ family, first }: Pick<Cidr, 'family' | 'first'>): string {
  if (family === 4) {
    return [24n, 16n, 8n, 0n].map((shift) => (first >> shift) & 255n).join('.');
  }
  const groups = first.toString(16).padStart(32, '0').match(/.{4}/g)?.join(':');
  return compressed(groups ?? '');
}

/** An IPv6 address as RFC 5952 has it: what `URL` makes of one. */
function compressed(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}

function bitsOf(family: 4 | 6): number {
  return family === 4 ? 32 : 128;
}

function ipv4Value(address: string): bigint {
  return address.split('.').reduce((value, octet) => (value << 8n) | BigInt(octet), 0n);
}

function ipv6Value(address: string): bigint {
  const [head = '', tail] = compressed(address).split('::');
  const groups = (part: string | undefined) => (part ? part.split(':') : []);
  const before = groups(head);
  const after = groups(tail);
  const zeros = new Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}
