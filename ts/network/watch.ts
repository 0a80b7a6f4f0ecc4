import type {
  DropCount,
  InterfaceCounters,
  NetworkEvent,
  RefusedAttempt,
  WatchOptions,
} from '../config/network-events.js';
import { delay } from '../util/deadline.js';
import type { AttachmentRecord } from './host-state.js';
import { ownerOf } from './plumbing/alias.js';
import type { NetworkCounters } from './policy/counters.js';
import { linkLocal } from './policy/elements.js';

const INTERVAL_MS = 1_000;
const NOTHING: DropCount = { packets: 0, bytes: 0 };

/** What the rules have counted of one interface. */
export function countersOfInterface(
  { wire, attachment }: AttachmentRecord,
  counters: NetworkCounters,
): InterfaceCounters {
  const addresses = [wire.ipv4, wire.ipv6, linkLocal(wire.mac)];
  const denied = addresses.map((address) => counters.denied.get(address ?? '') ?? NOTHING);
  return {
    ifaceId: attachment.ifaceId,
    denied: denied.reduce(
      (sum, one) => ({ packets: sum.packets + one.packets, bytes: sum.bytes + one.bytes }),
      NOTHING,
    ),
    refused: counters.refused.filter(({ from }) => addresses.includes(from)),
    frames: Object.fromEntries(counters.frames.get(wire.tapName) ?? []),
  };
}

/** What a watcher asks of the host at each look. */
export interface Looker {
  readonly records: () => Promise<readonly AttachmentRecord[]>;
  /** Undefined where rules are missing. */
  readonly counters: () => Promise<NetworkCounters | undefined>;
  readonly repair: () => Promise<void>;
}

/**
 * What happens to a VM's interfaces from now on, as the kernel counts it: what is refused twice between two looks is one event. Nothing
 * gathers for who does not ask. What others have taken away of the network is made again at each look.
 */
export async function* watch(look: Looker, options: WatchOptions): AsyncGenerator<NetworkEvent, void, undefined> {
  const { signal, intervalMs = INTERVAL_MS } = options;
  const before = new Map<string, number>();
  const gone = new Set<string>();
  for (let isFirst = true; !signal?.aborted; isFirst = false) {
    const records = await look.records();
    if (records.length === 0) {
      return;
    }
    const counters = await look.counters();
    if (!counters || records.some(({ definition: { bridge } }) => ownerOf(bridge) === 'absent')) {
      await look.repair();
      yield* records.map(({ attachment: { ifaceId } }) => ({ type: 'repaired', ifaceId }) as const);
    }
    for (const record of records) {
      const { ifaceId } = record.attachment;
      const { tapName } = record.wire;
      if (ownerOf(tapName) !== 'ours' && !gone.has(ifaceId)) {
        gone.add(ifaceId);
        yield { type: 'gone', ifaceId, tapName };
      }
      const events = counters ? eventsOf(countersOfInterface(record, counters), before) : [];
      yield* isFirst ? [] : events;
    }
    await delay(intervalMs, signal);
  }
}

/** What has been counted since the last look, whose counts are replaced. An element that had expired begins anew. */
function eventsOf({ ifaceId, refused, frames }: InterfaceCounters, before: Map<string, number>): NetworkEvent[] {
  const since = (key: string, now: number) => {
    const last = before.get(key) ?? 0;
    before.set(key, now);
    return now >= last ? now - last : now;
  };
  const keep = new Set<string>();
  const key = (...parts: unknown[]) => {
    const text = JSON.stringify([ifaceId, ...parts]);
    keep.add(text);
    return text;
  };
  const denied = refused.map((attempt): NetworkEvent => {
    const { bytes: _bytes, ageMs: _ageMs, packets, ...what } = attempt;
    return { type: 'denied', ifaceId, ...what, packets: since(key(what satisfies Partial<RefusedAttempt>), packets) };
  });
  const dropped = Object.entries(frames).map(
    ([reason, { packets }]) =>
      ({ type: 'dropped', ifaceId, reason, packets: since(key(reason), packets) }) as NetworkEvent,
  );
  for (const known of before.keys()) {
    if (!keep.has(known) && known.startsWith(`["${ifaceId}"`)) {
      before.delete(known); // the kernel has forgotten it too
    }
  }
  return [...denied, ...dropped].filter((event) => 'packets' in event && event.packets > 0);
}
