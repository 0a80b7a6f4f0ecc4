import { type Cidr, isWithin, parseCidr } from '../../util/cidr.js';

/** Addresses that are not opened by a rule that does not name them. Those of the host are known by where a packet goes instead. */
export const PROTECTED = {
  /** RFC 1918, 6598 and 2544; RFC 4193 and the site-local addresses before it. */
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '198.18.0.0/15', 'fc00::/7', 'fec0::/10'],
  'link-local': ['169.254.0.0/16', 'fe80::/10'],
  /** The services of AWS, Azure, GCP, Alibaba and Oracle that hand out credentials; the others use 169.254.169.254 too. */
  metadata: [
    '169.254.169.254/32',
    '169.254.170.2/32',
    '169.254.170.23/32',
    '168.63.129.16/32',
    '100.100.100.200/32',
    '192.0.0.192/32',
    'fd00:ec2::254/128',
    'fd00:ec2::23/128',
    'fd20:ce::254/128',
  ],
  multicast: ['224.0.0.0/4', '255.255.255.255/32', 'ff00::/8'],
  /**
   * This network, loopback, protocol assignments and what is reserved; IPv6's forms of an IPv4 address (mapped, NAT64, Teredo, 6to4),
   * which would lead around the rules for that.
   */
  reserved: [
    '0.0.0.0/8',
    '127.0.0.0/8',
    '192.0.0.0/24',
    '240.0.0.0/4',
    '::/96',
    '::ffff:0:0/96',
    '64:ff9b::/96',
    '64:ff9b:1::/48',
    '2001::/32',
    '2002::/16',
  ],
} as const;

export type ProtectedClass = keyof typeof PROTECTED;

/** The protected ranges that hold all of a range: those that a rule names by it. */
export function namedBy(range: Cidr): ProtectedClass[] {
  const classes = Object.keys(PROTECTED) as ProtectedClass[];
  return classes.filter((name) =>
    PROTECTED[name].some((text) => {
      const outer = parseCidr(text);
      return outer !== undefined && isWithin(range, outer);
    }),
  );
}

/** The ranges of a class that are of one family of addresses. */
export function rangesOf(name: ProtectedClass, family: 4 | 6): string[] {
  return PROTECTED[name].filter((text) => parseCidr(text)?.family === family);
}

/** Those of some ranges that are within no other of them. */
export function widest(ranges: readonly string[]): string[] {
  const parsed = ranges.map((text) => ({ text, range: parseCidr(text) }));
  return parsed
    .filter(({ text, range }) =>
      parsed.every((other) => other.text === text || !(range && other.range && isWithin(range, other.range))),
    )
    .map(({ text }) => text);
}
