import { isIP } from 'node:net';
import { SmartVMError } from '../errors.js';
import { type Egress, egress } from './egress.js';
import { isValidResourceId, isValidVmId, quote, RESOURCE_ID_RULE, VM_ID_RULE } from './ids.js';
import type { NetworkRequest } from './network.js';
import { type PublishedPort, publishedPorts } from './publish.js';
import { assertOptions } from './validation/assert-options.js';
import { type Check, flag, isRecord, list, object, rule } from './validation/checks.js';
import { isUnicastMac } from './validation/network-interfaces.js';

/** A network by its name, or all that is asked of it for one interface. */
export type NetworkChoice = string | NetworkRequest;

/** What a launch says of networks, in short. */
export interface NetworkChoices {
  /**
   * `none`, or the networks that the VM is in, with an interface in each: `default`, or others by their names. Default: `none` where
   * nothing else of networks is said, and `default` otherwise.
   */
  network?: NetworkChoice | readonly NetworkChoice[] | undefined;
  /** Ports of the host that lead to ports of the guest, in Docker's syntax (`'8080:80'`, `'127.0.0.1:0:5432'`, `'53:53/udp'`) or as objects. */
  publish?: readonly (string | PublishedPort)[] | undefined;
  /** Where the guest may open connections to, in each network for which nothing else is said. Default: as the network has it. */
  egress?: Egress | undefined;
  /** Addresses of name servers, for each network for which nothing else is said. Default: those of the network. */
  dns?: readonly string[] | undefined;
  /** The address that is to be the VM's in its first network; or two, of IPv4 and IPv6. Default: one that is free. */
  ip?: string | readonly string[] | undefined;
}

/** What a VM asks of networks: one request an interface, and its ports. */
export interface NetworkPlan {
  readonly networks: readonly NetworkRequest[];
  readonly publish: readonly PublishedPort[];
}

const NONE = 'none';
const MAX_NETWORKS = 16;
/** As many as resolv.conf(5) takes. */
const MAX_DNS = 3;

const address = rule((text) => isIP(text) !== 0, 'must be an IPv4 or IPv6 address');
const ipv4 = rule((text) => isIP(text) === 4, 'must be an IPv4 address');
const ipv6 = rule((text) => isIP(text) === 6, 'must be an IPv6 address');
const networkName = rule(isValidVmId, VM_ID_RULE);

const dns: Check = (value, path, report) => {
  list(address)(value, path, report);
  if (Array.isArray(value) && value.length > MAX_DNS) {
    report(path, `must have at most ${MAX_DNS} elements`);
  }
};

const request = object<NetworkRequest>({
  network: networkName,
  ifaceId: rule(isValidResourceId, RESOURCE_ID_RULE),
  ipv4,
  ipv6,
  mac: rule(isUnicastMac, 'must be a unicast MAC address like 02:00:00:00:00:01'),
  dns,
  egress,
  multiQueue: flag,
});

const choice: Check = (value, path, report) => {
  (isRecord(value) ? request : networkName)(value, path, report);
};

const choices = object<Required<Pick<NetworkChoices, 'network' | 'egress' | 'dns' | 'ip'>>>({
  network: (value, path, report) => {
    (Array.isArray(value) ? list(choice, 1) : choice)(value, path, report);
    if (Array.isArray(value) && value.length > MAX_NETWORKS) {
      report(path, `must have at most ${MAX_NETWORKS} elements`);
    }
    if (Array.isArray(value) && value.length > 1 && value.includes(NONE)) {
      report(path, `must not have ${NONE} beside other networks`);
    }
  },
  egress,
  dns,
  ip: (value, path, report) => {
    (Array.isArray(value) ? list(address, 1) : address)(value, path, report);
    if (Array.isArray(value) && new Set(value.map((ip) => isIP(String(ip)))).size < value.length) {
      report(path, 'must have at most one address of IPv4 and one of IPv6');
    }
  },
});

/**
 * What a launch asks of networks, with a request for each interface.
 * @throws SmartVMError INVALID_OPTION with every problem
 */
export function networkPlanOf({ network, publish, egress, dns, ip }: NetworkChoices): NetworkPlan {
  assertOptions(choices, { network, egress, dns, ip }, 'network options');
  const ports = publishedPorts(publish ?? []);
  const isAsked = publish !== undefined || [egress, dns, ip].some((value) => value !== undefined);
  const chosen = [network ?? (isAsked ? 'default' : NONE)].flat() as NetworkChoice[];
  if (chosen[0] === NONE) {
    assertNothingElse({ publish, egress, dns, ip });
    return { networks: [], publish: [] };
  }
  const requests = chosen.map((one) => (typeof one === 'string' ? { network: one } : one));
  const networks = withInterfaceIds(requests).map((one, index) => ({
    ...one,
    egress: one.egress ?? egress,
    dns: one.dns ?? dns,
    ...(index === 0 ? addressesOf(one, ip) : {}),
  }));
  return { networks, publish: ports };
}

function addressesOf(one: NetworkRequest, ip: NetworkChoices['ip']): Pick<NetworkRequest, 'ipv4' | 'ipv6'> {
  const given = ip === undefined ? [] : [ip].flat();
  return {
    ipv4: one.ipv4 ?? given.find((text) => isIP(text) === 4),
    ipv6: one.ipv6 ?? given.find((text) => isIP(text) === 6),
  };
}

/** The first names of the kind `eth0` that nobody has taken. @throws SmartVMError INVALID_OPTION */
function withInterfaceIds(requests: readonly NetworkRequest[]): NetworkRequest[] {
  const named = requests.flatMap(({ ifaceId }) => ifaceId ?? []);
  const twice = named.find((id, index) => named.indexOf(id) !== index);
  if (twice !== undefined) {
    throw new SmartVMError('INVALID_OPTION', `network: two interfaces have the ifaceId ${quote(twice)}`);
  }
  const free = Array.from(requests.keys(), (index) => `eth${index}`).filter((id) => !named.includes(id));
  return requests.map((one) => ({ ...one, ifaceId: one.ifaceId ?? free.shift() }));
}

/** @throws SmartVMError INVALID_OPTION */
function assertNothingElse(others: Omit<NetworkChoices, 'network'>): void {
  const [name] = Object.entries(others).find(([, value]) => value !== undefined) ?? [];
  if (name !== undefined) {
    throw new SmartVMError('INVALID_OPTION', `${name} is for a VM that is in a network, and network is '${NONE}'`);
  }
}
