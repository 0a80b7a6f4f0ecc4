import { lookup } from 'node:dns';
import { BlockList, isIP, isIPv6, type LookupFunction } from 'node:net';

/** Whom an address can be reached by, the widest first. A stranger must not send us to a narrower one than the stranger's own. */
const REACHES = ['public', 'private', 'link-local', 'loopback'] as const;

export type Reach = (typeof REACHES)[number];

/** IANA's special-purpose registries; 0.0.0.0 and :: connect to this host. */
const NETWORKS: Readonly<Record<Exclude<Reach, 'public'>, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '0.0.0.0/8', '::1/128', '::/128'],
  'link-local': ['169.254.0.0/16', 'fe80::/10'],
  private: [
    ...['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '192.0.0.0/24', '198.18.0.0/15'],
    ...['224.0.0.0/4', '240.0.0.0/4', 'fc00::/7', 'fec0::/10', 'ff00::/8'],
  ],
};

/** RFC 6052: an IPv4 address behind a translator. */
const NAT64 = '64:ff9b::';

const LISTS = REACHES.slice(1).map((reach) => [reach, blockList(NETWORKS[reach as keyof typeof NETWORKS])] as const);

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    if (isIPv6(address)) {
      list.addSubnet(address, Number(prefix), 'ipv6');
    } else {
      list.addSubnet(address, Number(prefix), 'ipv4');
      list.addSubnet(NAT64 + address, 96 + Number(prefix), 'ipv6');
    }
  }
  return list;
}

/** The reach of an IP address, IPv4 ones in IPv6 notation included. */
export function reachOf(address: string): Reach {
  const bare = address.replace(/%.*$/, ''); // fe80::1%eth0
  return LISTS.find(([, list]) => list.check(bare, isIPv6(bare) ? 'ipv6' : 'ipv4'))?.[0] ?? 'public';
}

/** The reach that a URL's host shows by itself; undefined for a name that has to be looked up. */
export function reachOfHost(hostname: string): Reach | undefined {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (isIP(host)) {
    return reachOf(host);
  }
  return host === 'localhost' || host.endsWith('.localhost') ? 'loopback' : undefined; // RFC 6761
}

/** The wider of two. */
export function wider(a: Reach, b: Reach): Reach {
  return isWithin(a, b) ? a : b;
}

/** Whether an address of this reach may be gone to where `narrowest` is the limit. */
export function isWithin(reach: Reach, narrowest: Reach): boolean {
  return REACHES.indexOf(reach) <= REACHES.indexOf(narrowest);
}

/** A name's addresses are all out of bounds. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
}

/** A lookup for `net.connect()` that only gives addresses that may be gone to: what is checked is what is connected to. */
export function guardedLookup(allows: (reach: Reach) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) {
        callback(error, []);
        return;
      }
      const allowed = addresses.filter(({ address }) => allows(reachOf(address)));
      const [first] = allowed;
      if (first === undefined) {
        const found = addresses.map(({ address }) => `${address} (${reachOf(address)})`).join(', ');
        callback(new AddressRefused(`${hostname} is ${found}`), []);
      } else if (options.all) {
        callback(null, allowed);
      } else {
        callback(null, first.address, first.family);
      }
    });
  };
}
