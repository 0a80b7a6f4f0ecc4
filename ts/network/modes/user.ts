import { USER_NETWORKS } from '../../config/ids.js';
import { macOf } from '../names.js';
import { poolOf } from '../subnet.js';
import { mtuOf } from './bridged.js';
import type { Strategy } from './strategy.js';

/** The places that QEMU's user networking gives the gateway, the resolver and the guest: .2, .3 and .15. */
const PLACES = { gateway: 0, dns: 1, guest: 13 };

/**
 * The VMM itself speaks for the guest, with sockets of its own: no right on the host is needed, and nothing of it is made. Only
 * smartvm-qemu can; it is told by a name that no kernel lets an interface have.
 */
export const userMode: Strategy = {
  hasInterface: true,
  isOfHost: false,
  ownsBridge: false,
  plan: async ({ definition, request, ifaceId }) => {
    const ipv4 = poolOf(definition.ipv4);
    const ipv6 = definition.ipv6 === undefined ? undefined : poolOf(definition.ipv6);
    const attachment = {
      network: definition.name,
      ifaceId,
      tapName: '',
      mac: request.mac ?? macOf('user', ifaceId),
      ipv4: ipv4.at(PLACES.guest),
      ipv6: ipv6?.at(PLACES.guest),
      prefixes: { ipv4: ipv4.range.prefix, ipv6: ipv6?.range.prefix },
      gateways: { ipv4: ipv4.at(PLACES.gateway), ipv6: ipv6?.at(PLACES.gateway) },
      dns: request.dns ?? definition.dns ?? [ipv4.at(PLACES.dns)],
      mtu: mtuOf(definition),
    };
    return { attachment, wire: attachment };
  },
  up: () => [],
  down: () => [],
  hostDevName: ({ egress }) => USER_NETWORKS[egress === 'none' ? 1 : 0],
};

/** No interface: the VM is alone. */
export const noneMode: Strategy = { ...userMode, hasInterface: false };
