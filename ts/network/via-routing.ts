import type { NetworkDefinition } from '../config/network.js';
import { run } from '../util/run.js';
import { runIp } from './plumbing/ip.js';
import { viaRemoval, viaRoutes, viaRule } from './policy/via.js';

/**
 * Leads the traffic of a network that leaves by one interface to that. It may be done again, and is for each VM: when the interface
 * has been away, its route has gone with it.
 * @throws SmartVMError INTERFACE_GONE, NETWORK_FAILED
 */
export async function routeVia({ bridge, via, ipv6 }: NetworkDefinition, signal?: AbortSignal): Promise<void> {
  if (via === undefined) {
    return;
  }
  for (const family of ipv6 === undefined ? ([4] as const) : ([4, 6] as const)) {
    const lines = viaRoutes(bridge, via, await gatewayBy(via, family));
    // An interface may have no IPv6: then nothing of it leaves.
    await runIp(lines, { family, force: family === 6, signal });
    await runIp([viaRule(bridge)], { family, force: true, signal }); // it is there already for all VMs but the first
  }
}

/** Undoes {@link routeVia}. */
export async function unrouteVia({ bridge, via }: NetworkDefinition): Promise<void> {
  if (via !== undefined) {
    await Promise.all(([4, 6] as const).map((family) => runIp(viaRemoval(bridge), { family, force: true })));
  }
}

/** The router behind an interface, as the host's own default route names it; a tunnel has none. */
async function gatewayBy(via: string, family: 4 | 6): Promise<string | undefined> {
  const listing = await run('ip', ['-json', `-${family}`, 'route', 'show', 'default', 'dev', via]).catch(() => '[]');
  const routes = JSON.parse(listing.toString() || '[]') as { gateway?: string }[];
  return routes.find(({ gateway }) => gateway !== undefined)?.gateway;
}
