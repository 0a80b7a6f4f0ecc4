import { isIP, isIPv4 } from 'node:net';
import { egress } from '../config/egress.js';
import { INTERFACE_NAME_RULE, isValidInterfaceName, isValidVmId, VM_ID_RULE } from '../config/ids.js';
import type { NetworkDefinition } from '../config/network.js';
import {
  type Check,
  errorsOf,
  flag,
  integer,
  isRecord,
  list,
  object,
  oneOf,
  rule,
} from '../config/validation/checks.js';
import { SmartVMError } from '../errors.js';
import { hostUniqueLocalSubnet, parseSubnet } from './subnet.js';

export const DEFAULT_NETWORK = 'default';
const MIN_MTU_IPV6 = 1280;
/** Of every link of IPv4 (RFC 791); the kernel's own least for a guest that is to speak it. */
const MIN_MTU = 576;

const interfaceName = rule(isValidInterfaceName, INTERFACE_NAME_RULE);

const fields = object<NetworkDefinition>(
  {
    name: rule(isValidVmId, VM_ID_RULE),
    mode: oneOf('nat', 'bridge', 'netns', 'none', 'user'),
    bridge: interfaceName,
    ipv4: rule((text) => parseSubnet(text)?.family === 4, 'must be IPv4 CIDR notation with a prefix of /8 to /30'),
    gateway: rule(isIPv4, 'must be an IPv4 address'),
    ipv6: rule(
      (text) => parseSubnet(text)?.family === 6,
      'must be CIDR notation of unique local IPv6 addresses (fd00::/8) with a prefix of /64 to /112',
    ),
    mtu: integer(MIN_MTU, 65_535),
    dns: list(rule((text) => isIP(text) !== 0, 'must be an IP address')),
    egress,
    isolated: flag,
    via: interfaceName,
  },
  ['name', 'mode', 'bridge', 'ipv4', 'egress', 'isolated'],
);

export const networkDefinition: Check = (value, path, report) => {
  fields(value, path, report);
  if (!isRecord(value)) {
    return;
  }
  const { mode, mtu, ipv6, gateway, via, egress: policy } = value;
  if (typeof mtu === 'number' && mtu < MIN_MTU_IPV6 && ipv6 !== undefined) {
    report(`${path}.mtu`, `must be >= ${MIN_MTU_IPV6}, the least for IPv6; leave out ipv6, or give a greater mtu`);
  }
  if (gateway !== undefined && mode !== 'bridge') {
    report(`${path}.gateway`, "is of the mode 'bridge' alone: otherwise the host is the gateway");
  }
  if (via !== undefined && mode !== 'nat' && mode !== 'netns') {
    report(`${path}.via`, "is of the modes 'nat' and 'netns' alone: in others, this host is no router");
  }
  if (mode === 'bridge' && policy !== 'internet') {
    report(
      `${path}.egress`,
      "must be 'internet' with the mode 'bridge': what passes there does not pass this host's rules",
    );
  }
};

/** @throws SmartVMError INVALID_NETWORK with every problem in its message and in `details.errors` */
export function assertDefinition(definition: unknown): asserts definition is NetworkDefinition {
  const errors = errorsOf(networkDefinition, definition, 'network');
  if (errors.length > 0) {
    throw new SmartVMError('INVALID_NETWORK', `invalid network: ${errors.join('; ')}`, { details: { errors } });
  }
}

/** The networks that need no definition: the default one, one that is none, and one that takes no right on the host. */
export function builtInNetworks(host: { bridge: string; ipv4: string; isRoot: boolean }): NetworkDefinition[] {
  const { bridge, ipv4, isRoot } = host;
  const common = { bridge, egress: 'internet', isolated: true } as const;
  const user = { ...common, mode: 'user', ipv4: '10.0.2.0/24', ipv6: 'fd00:0:0:2::/64' } as const;
  return [
    isRoot
      ? { ...common, name: DEFAULT_NETWORK, mode: 'nat', ipv4, ipv6: hostUniqueLocalSubnet(DEFAULT_NETWORK) }
      : { ...user, name: DEFAULT_NETWORK },
    { ...common, name: 'none', mode: 'none', ipv4, egress: 'none' },
    { ...user, name: 'user' },
  ];
}
