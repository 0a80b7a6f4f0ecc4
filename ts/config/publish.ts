import { isIP } from 'node:net';
import { SmartVMError } from '../errors.js';
import { formatAddress, parseCidr } from '../util/cidr.js';
import { quote } from './ids.js';
import { assertOptions } from './validation/assert-options.js';
import { type Check, integer, isRecord, list, object, oneOf, rule } from './validation/checks.js';

/** A port of the host that leads to one of the guest. */
export interface PublishedPort {
  /** The one address of the host at which it is. Default: all of them, IPv4 and IPv6. */
  readonly hostIp?: string | undefined;
  /** 1 to 65535; 0 is any that is free. */
  readonly hostPort: number;
  /** 1 to 65535. */
  readonly guestPort: number;
  readonly protocol: 'tcp' | 'udp';
}

const MAX_PORT = 65_535;
const MAX_PUBLISHED = 256;
const RULE =
  "must be [hostIp:][hostPort:]guestPort[/tcp|/udp] like '8080:80', '127.0.0.1:0:5432', '[::1]:8053:53/udp' or '8000-8009:9000-9009'";

const SPEC = /^(?:(?:\[([^\]]+)\]|([\d.]+)):(?=\S*:))?(?:([\d-]*):)?([\d-]+)(?:\/(tcp|udp))?$/;

/**
 * The ports that a text in Docker's syntax publishes: `[hostIp:][hostPort:]guestPort[/protocol]`. No host port, or 0, is any that is
 * free. Ranges of one length publish port by port.
 * @throws SmartVMError INVALID_OPTION
 */
export function parsePublish(text: string): PublishedPort[] {
  const [, ipv6, ipv4, hostText = '', guestText = '', protocol] = SPEC.exec(text) ?? [];
  const guest = range(guestText, 1);
  const host = hostText === '' ? undefined : range(hostText, 0);
  const hostIp = ipv6 ?? ipv4;
  const badHost = hostText !== '' && (host === undefined || (host.length !== guest?.length && hostText !== '0'));
  if (!guest || badHost || guest.length > MAX_PUBLISHED || (hostIp !== undefined && !isHostIp(hostIp))) {
    throw new SmartVMError('INVALID_OPTION', `published port ${quote(text)} ${RULE}`);
  }
  return guest.map((guestPort, index) => ({
    ...(hostIp === undefined ? {} : { hostIp: canonical(hostIp) }),
    hostPort: host?.[index] ?? 0,
    guestPort,
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
  }));
}

/** The text that {@link parsePublish} reads as this port. */
export function formatPublish({ hostIp, hostPort, guestPort, protocol }: PublishedPort): string {
  const address = hostIp === undefined ? '' : `${isIP(hostIp) === 6 ? `[${hostIp}]` : hostIp}:`;
  return `${address}${hostPort}:${guestPort}${protocol === 'udp' ? '/udp' : ''}`;
}

function range(text: string, lowest: number): number[] | undefined {
  const [, low = '', high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const [first, last] = [Number(low), Number(high)];
  if (low === '' || first < lowest || last < first || last > MAX_PORT || (first === 0 && last > 0)) {
    return undefined;
  }
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

function isHostIp(address: string): boolean {
  return isIP(address) !== 0;
}

function canonical(address: string): string {
  const parsed = parseCidr(address);
  return parsed ? formatAddress(parsed) : address;
}

const port = object<PublishedPort>(
  {
    hostIp: rule(isHostIp, 'must be an IPv4 or IPv6 address'),
    hostPort: integer(0, MAX_PORT),
    guestPort: integer(1, MAX_PORT),
    protocol: oneOf('tcp', 'udp'),
  },
  ['hostPort', 'guestPort', 'protocol'],
);

/** Of a list of {@link PublishedPort}, in whatever object it stands. */
export const published: Check = (value, path, report) => {
  list(port)(value, path, report);
  if (!Array.isArray(value)) {
    return;
  }
  if (value.length > MAX_PUBLISHED) {
    report(path, `must have at most ${MAX_PUBLISHED} elements`);
  }
  for (const [index, one] of value.entries()) {
    const earlier = value.slice(0, index).findIndex((other) => overlap(one, other));
    if (earlier !== -1) {
      report(`${path}[${index}]`, `must be another port of the host, is the same as ${path}[${earlier}]`);
    }
  }
};

/** Whether two ports cannot be published beside each other. */
export function overlap(one: unknown, other: unknown): boolean {
  if (!isRecord(one) || !isRecord(other) || one.hostPort === 0) {
    return false;
  }
  const sameAddress = every(one.hostIp, other.hostIp) || every(other.hostIp, one.hostIp) || one.hostIp === other.hostIp;
  return one.hostPort === other.hostPort && one.protocol === other.protocol && sameAddress;
}

/** Whether an address stands for all, those of the other's family at least. */
function every(address: unknown, other: unknown): boolean {
  if (address === undefined || other === undefined) {
    return true;
  }
  return isIP(String(address)) === isIP(String(other)) && (address === '0.0.0.0' || address === '::');
}

/**
 * Published ports, said as texts or as objects.
 * @throws SmartVMError INVALID_OPTION with every problem
 */
export function publishedPorts(specs: readonly (string | PublishedPort)[]): PublishedPort[] {
  const ports = specs.flatMap((spec) => (typeof spec === 'string' ? parsePublish(spec) : [spec]));
  assertOptions(published, ports, 'publish');
  return ports;
}
