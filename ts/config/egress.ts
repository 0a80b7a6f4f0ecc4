import { parseCidr } from '../util/cidr.js';
import { assertOptions } from './validation/assert-options.js';
import { type Check, isRecord, list, object, oneOf } from './validation/checks.js';

/**
 * What a rule can name beside addresses. `internet`: every address that is in none of the others. `host`: this machine, by whatever
 * address. `private`: RFC 1918, shared (RFC 6598) and unique local (RFC 4193) addresses. `metadata`: a cloud's metadata services,
 * which `link-local` does not open. `dns`: the name servers of the network, port 53. `any`: everything, for `deny` alone.
 */
export const EGRESS_TARGETS = [
  'internet',
  'host',
  'private',
  'link-local',
  'metadata',
  'multicast',
  'dns',
  'any',
] as const;

export type EgressTarget = (typeof EGRESS_TARGETS)[number];

export interface EgressRule {
  readonly action: 'allow' | 'deny';
  /**
   * An {@link EgressTarget}, an IPv4 or IPv6 address, or a range in CIDR notation. Default: `internet` where `allow` is said,
   * `any` where `deny` is. A range opens what is protected (all targets but `internet`) only where it lies within it: `0.0.0.0/0`
   * is the internet, and `10.0.0.0/8` a private range.
   */
  readonly to?: string | undefined;
  /** Ports 1 to 65535, or ranges of them (`'8000-8999'`); at most 64. TCP and UDP, where `protocol` says nothing. Default: all. */
  readonly ports?: readonly (number | string)[] | undefined;
  /** `icmp` is ICMPv6 too. Default: every protocol. */
  readonly protocol?: 'tcp' | 'udp' | 'icmp' | undefined;
}

/**
 * Where a guest may open connections to. `none`: nowhere. `internet`: every address that is not protected, and the network's
 * name servers. Rules: the first that matches decides, and what none matches is denied.
 */
export type Egress = 'none' | 'internet' | readonly EgressRule[];

const MAX_RULES = 256;
const MAX_PORTS = 64;
const MAX_PORT = 65_535;

/** The first and the last port of a range; undefined for anything that is none. */
export function parsePorts(ports: unknown): readonly [first: number, last: number] | undefined {
  const [, low = '', high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(ports)) ?? [];
  const [first, last] = [Number(low), Number(high)];
  return first >= 1 && first <= last && last <= MAX_PORT ? [first, last] : undefined;
}

const ports: Check = (value, path, report) => {
  if (!((typeof value === 'number' || typeof value === 'string') && parsePorts(value))) {
    report(path, "must be a port from 1 to 65535, or a range of them like '8000-8999'");
  }
};

const portList: Check = (value, path, report) => {
  list(ports, 1)(value, path, report);
  if (Array.isArray(value) && value.length > MAX_PORTS) {
    report(path, `must have at most ${MAX_PORTS} elements`);
  }
};

const target: Check = (value, path, report) => {
  const named = EGRESS_TARGETS.some((name) => name === value);
  if (!named && (typeof value !== 'string' || parseCidr(value) === undefined)) {
    report(path, `must be an address, a range in CIDR notation, or one of ${EGRESS_TARGETS.join(', ')}`);
  }
};

const fields = object<EgressRule>(
  { action: oneOf('allow', 'deny'), to: target, ports: portList, protocol: oneOf('tcp', 'udp', 'icmp') },
  ['action'],
);

const rule: Check = (value, path, report) => {
  fields(value, path, report);
  if (!isRecord(value)) {
    return;
  }
  if (value.action === 'allow' && value.to === 'any') {
    report(`${path}.to`, "must not be 'any' where action is allow: name what is to be opened");
  }
  if (value.protocol === 'icmp' && value.ports !== undefined) {
    report(`${path}.ports`, 'must be absent where protocol is icmp, which has none');
  }
  if (value.to === 'dns' && (value.ports !== undefined || value.protocol === 'icmp')) {
    report(path, "must have neither ports nor protocol icmp where to is 'dns', which is port 53 of the name servers");
  }
};

/** Of an {@link Egress}, in whatever object it stands. */
export const egress: Check = (value, path, report) => {
  if (value === 'none' || value === 'internet') {
    return;
  }
  if (!Array.isArray(value)) {
    report(path, 'must be none, internet or an array of rules');
    return;
  }
  list(rule)(value, path, report);
  if (value.length > MAX_RULES) {
    report(path, `must have at most ${MAX_RULES} rules`);
  }
};

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertEgress(value: unknown): asserts value is Egress {
  assertOptions(egress, value, 'egress');
}
