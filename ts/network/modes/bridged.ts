import { readFileSync } from 'node:fs';
import type { NetworkAttachment, NetworkDefinition } from '../../config/network.js';
import { hostResolvers } from '../host-resolvers.js';
import { linkDown, tapUp } from '../plumbing/lines.js';
import { type Pool, poolOf } from '../subnet.js';
import type { PlanRequest, Strategy } from './strategy.js';

/** Bytes: Ethernet's. */
export const DEFAULT_MTU = 1500;

/** A TAP that is a port of a bridge: one of the network's own behind the host's addresses, or one that is there. */
function bridged(ownsBridge: boolean): Strategy {
  return {
    hasInterface: true,
    isOfHost: true,
    ownsBridge,
    plan: async (request) => {
      const attachment = await planAttachment(request);
      return { attachment, wire: attachment };
    },
    up: ({ definition: { bridge, isolated }, wire, multiQueue }) => tapUp(wire, { bridge, isolated, multiQueue }),
    down: ({ wire }) => linkDown(wire.tapName),
    hostDevName: ({ wire }) => wire.tapName,
  };
}

export const natMode = bridged(true);
export const bridgeMode = bridged(false);

/** A name, a MAC and addresses of the network. */
export async function planAttachment(plan: PlanRequest): Promise<NetworkAttachment> {
  const { definition, request, ifaceId, leases } = plan;
  const ipv4Pool = poolOf(definition.ipv4);
  const ipv6Pool = definition.ipv6 === undefined ? undefined : poolOf(definition.ipv6);
  const gateway = definition.gateway ?? ipv4Pool.gateway;
  const identity = await leases.takeIdentity(ifaceId, request.mac);
  const take = (pool: Pool, wanted: string | undefined, not: string) =>
    leases.takeAddress(pool, ifaceId, { wanted, not });
  const ipv4 = await take(ipv4Pool, request.ipv4, gateway);
  const ipv6 = ipv6Pool && (await take(ipv6Pool, request.ipv6, ipv6Pool.gateway));
  return {
    network: definition.name,
    ifaceId,
    ...identity,
    ...{ ipv4, ipv6 },
    prefixes: { ipv4: ipv4Pool.range.prefix, ipv6: ipv6Pool?.range.prefix },
    gateways: { ipv4: gateway, ipv6: ipv6Pool?.gateway },
    dns: request.dns ?? definition.dns ?? hostResolvers(),
    mtu: mtuOf(definition),
  };
}

/** Bytes. What leaves by one interface can be no longer than that takes. */
export function mtuOf({ mtu, mode, bridge, via }: NetworkDefinition): number {
  const device = via ?? (mode === 'bridge' ? bridge : undefined);
  return mtu ?? (device === undefined ? DEFAULT_MTU : deviceMtu(device));
}

function deviceMtu(device: string): number {
  try {
    return Number(readFileSync(`/sys/class/net/${device}/mtu`, 'utf8'));
  } catch {
    return DEFAULT_MTU; // that it is not there is told when it is used
  }
}
