import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { type Cidr, formatAddress, isWithin, parseCidr } from '../util/cidr.js';

/** The addresses of one family that a network has for its VMs. */
export interface Pool {
  readonly range: Cidr;
  readonly cidr: string;
  /** The first address: the host's, unless a definition says otherwise. */
  readonly gateway: string;
  /** How many VMs it has addresses for. */
  readonly size: number;
  /** The address of a place, 0 to size - 1. */
  readonly at: (place: number) => string;
  /** The address as the pool writes it; undefined for one that no VM can have. */
  readonly normalize: (address: string) => string | undefined;
}

const UNIQUE_LOCAL = parseCidr('fc00::/7') as Cidr;
/** What the network itself, its gateway and, in IPv4, the broadcast take. */
const FIRST_GUEST = 2n;
/** A pool of IPv6 has more than anybody counts. */
const MOST = 2n ** 48n;

/** Undefined for anything else than IPv4/8 to /30 and unique local IPv6/64 to /112. */
export function parseSubnet(text: unknown): Cidr | undefined {
  const range = typeof text === 'string' && text.includes('/') ? parseCidr(text) : undefined;
  if (!range) {
    return undefined;
  }
  const [least, most] = range.family === 4 ? [8, 30] : [64, 112];
  const isAllowed = range.family === 4 || isWithin(range, UNIQUE_LOCAL);
  return isAllowed && range.prefix >= least && range.prefix <= most ? range : undefined;
}

export function overlap(a: Cidr, b: Cidr): boolean {
  return isWithin(a, b) || isWithin(b, a);
}

/** @param text of a definition that has been checked */
export function poolOf(text: string): Pool {
  const range = parseSubnet(text);
  if (!range) {
    throw new TypeError(`${text} is no subnet`);
  }
  const { family, first, prefix } = range;
  const total = 2n ** BigInt((family === 4 ? 32 : 128) - prefix);
  const end = first + total - (family === 4 ? 1n : 0n); // the last address of IPv4 is the broadcast's
  const size = end - first - FIRST_GUEST;
  const format = (address: bigint) => formatAddress({ family, first: address });
  return {
    range,
    cidr: `${format(first)}/${prefix}`,
    gateway: format(first + 1n),
    size: Number(size < MOST ? size : MOST),
    at: (place) => format(first + FIRST_GUEST + BigInt(place)),
    normalize: (address) => {
      const parsed = address.includes('/') ? undefined : parseCidr(address);
      const isOurs = parsed?.family === family && parsed.first >= first + FIRST_GUEST && parsed.first < end;
      return isOurs ? format(parsed.first) : undefined;
    },
  };
}

/** A /64 of unique local addresses that hardly anybody else has (RFC 4193, section 3.2). */
export function randomUniqueLocalSubnet(): string {
  return uniqueLocalSubnet(randomBytes(5));
}

/** One that is always the same on this host, and hardly any other's. */
export function hostUniqueLocalSubnet(name: string): string {
  return uniqueLocalSubnet(
    createHash('sha256')
      .update(JSON.stringify([machineId(), name]))
      .digest()
      .subarray(0, 5),
  );
}

function uniqueLocalSubnet(globalId: Uint8Array): string {
  const first = BigInt(`0xfd${Buffer.from(globalId).toString('hex')}`) << 80n;
  return `${formatAddress({ family: 6, first })}/64`;
}

function machineId(): string {
  try {
    return readFileSync('/etc/machine-id', 'utf8').trim();
  } catch {
    return hostname();
  }
}
