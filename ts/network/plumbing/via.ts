import type { NetworkDefinition } from '../../config/network.js';
import { isSmartVMError } from '../../errors.js';
import { run } from '../../util/run.js';
import { viaRemoval, viaRoutes, viaRule } from '../policy/via.js';
import { plumbingError, runIp } from './ip.js';

/**
 * Leads what comes from a network's bridge to the interface by which alone it may leave. Said again, it repairs what has been lost with
 * that interface.
 * @throws SmartVMError INTERFACE_GONE, NETWORK_FAILED, NET_ADMIN_MISSING
 */
export async function leadVia(definition: NetworkDefinition, signal?: AbortSignal): Promise<void> {
  const { bridge, via } = definition;
  for (const family of via === undefined ? [] : familiesOf(definition)) {
    await runIp(viaRoutes(bridge, via ?? '', await gatewayOf(via ?? '', family)), { family, signal });
    await runIp([viaRule(bridge)], { family, signal }).catch((error: unknown) => {
      if (!isSmartVMError(error, 'INTERFACE_TAKEN')) {
        throw error; // else the rule is there
      }
    });
  }
}

/** Undoes {@link leadVia}. */
export async function leadNoMore(definition: NetworkDefinition): Promise<void> {
  for (const family of definition.via === undefined ? [] : familiesOf(definition)) {
    await runIp(viaRemoval(definition.bridge), { family, force: true });
  }
}

function familiesOf({ ipv6 }: NetworkDefinition): (4 | 6)[] {
  return ipv6 === undefined ? [4] : [4, 6];
}

/** The next hop of the host's own default route by that interface; undefined for a tunnel, which has none. */
async function gatewayOf(device: string, family: 4 | 6): Promise<string | undefined> {
  const args = [`-${family}`, '-json', 'route', 'show', 'default', 'dev', device];
  const answer = await run('ip', args).catch((error) => {
    throw plumbingError(error);
  });
  const routes = JSON.parse(answer.toString() || '[]') as { gateway?: string }[];
  return routes.find(({ gateway }) => gateway !== undefined)?.gateway;
}
