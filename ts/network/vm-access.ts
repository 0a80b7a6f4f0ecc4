import type { WatchOptions } from '../config/network-events.js';
import type { Holder } from '../util/holder.js';
import type { AttachmentRecord } from './host-state.js';
import type { AttachmentChange, Networks } from './networks.js';

/** What one VM may ask of the networks of this host, and change. */
export function vmAccess(networks: Networks, vm: Pick<Holder, 'id' | 'runtimeDir'>) {
  return {
    interfaces: async () => (await networks.attachmentsOf(vm)).toSorted(byInterface),
    change: (ifaceId: string, change: AttachmentChange) => networks.change(vm, ifaceId, change),
    counters: async () => (await networks.countersOf(vm)).toSorted(byId),
    watch: (options: WatchOptions) => networks.watch(vm, options),
  };
}

/** As `eth2` stands before `eth10`. */
function byInterface({ attachment: a }: AttachmentRecord, { attachment: b }: AttachmentRecord): number {
  return byId(a, b);
}

function byId(a: { readonly ifaceId: string }, b: { readonly ifaceId: string }): number {
  return a.ifaceId.localeCompare(b.ifaceId, 'en', { numeric: true });
}
