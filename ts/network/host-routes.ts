import { readFileSync } from 'node:fs';
import { type Cidr, formatAddress, parseCidr } from '../util/cidr.js';
import { overlap } from './subnet.js';

interface Route {
  readonly device: string;
  readonly range: Cidr;
}

/** Routes of the main table but the default ones, as the kernel prints them for this program's network namespace. */
export function hostRoutes(): Route[] {
  return [...ipv4Routes(), ...ipv6Routes()].filter(({ range }) => range.prefix > 0);
}

/** The route, by name and device, into which a subnet would break; those over `device` itself are its own. */
export function routeConflict(subnet: Cidr, device: string): string | undefined {
  const route = hostRoutes().find((other) => other.device !== device && overlap(other.range, subnet));
  return route && `the route to ${formatAddress(route.range)}/${route.range.prefix} over ${route.device}`;
}

/** Addresses in hexadecimal, in the byte order of the machine, which is little-endian on all that run Firecracker. */
function ipv4Routes(): Route[] {
  const [, ...lines] = linesOf('/proc/self/net/route');
  return lines.flatMap((line) => {
    const [device = '', destination = '', , , , , , mask = ''] = line.split('\t');
    const bits = Number.parseInt(mask, 16).toString(2).replaceAll('0', '').length;
    const octets = destination.match(/../g)?.toReversed();
    return route(device, octets?.map((octet) => Number.parseInt(octet, 16)).join('.'), bits);
  });
}

/** Global and unique local unicast: every interface has link-local and multicast routes of its own. */
function ipv6Routes(): Route[] {
  return linesOf('/proc/self/net/ipv6_route').flatMap((line) => {
    const [destination = '', length = ''] = line.split(/\s+/);
    const device = line.trim().split(/\s+/).at(-1) ?? '';
    const isShared = /^(fe[89ab]|ff)/.test(destination) || device === 'lo';
    return isShared ? [] : route(device, destination.match(/.{4}/g)?.join(':'), Number.parseInt(length, 16));
  });
}

function route(device: string, address: string | undefined, bits: number): Route[] {
  const range = parseCidr(`${address}/${bits}`);
  return range ? [{ device, range }] : [];
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch {
    return []; // a kernel without IPv6
  }
}
