import type { DropCount, FrameDrop, RefusedAttempt } from '../../config/network-events.js';
import { FRAME_DROPS, REFUSED_TIMEOUT_S } from './base.js';

export interface NetworkCounters {
  /** By port of a bridge: frames dropped there since the wire was let in, of every kind. */
  readonly frames: ReadonlyMap<string, ReadonlyMap<FrameDrop, DropCount>>;
  /** By a guest's address: packets that its policy refused. */
  readonly denied: ReadonlyMap<string, DropCount>;
  /** Which those were, for ten minutes after the last to each destination; 16,384 destinations of all guests together. */
  readonly refused: readonly RefusedAttempt[];
}

interface Element {
  readonly val: unknown;
  readonly counter?: DropCount;
  readonly expires?: number;
}

/** What the rules have counted, from the answers of `nft -j list table inet smartvm` and `nft -j list table bridge smartvm`. */
export function countersOf(...listings: readonly string[]): NetworkCounters {
  const sets = listings.flatMap(setsOf);
  const named = (name: string) => sets.filter((set) => set.name === name).flatMap((set) => set.elements);
  const frames = new Map<string, Map<FrameDrop, DropCount>>();
  for (const drop of FRAME_DROPS) {
    for (const { val, counter } of named(drop)) {
      const port = String(val);
      frames.set(port, (frames.get(port) ?? new Map<FrameDrop, DropCount>()).set(drop, countOf(counter)));
    }
  }
  const denied = [...named('denied4'), ...named('denied6')];
  return {
    frames,
    denied: new Map(denied.map(({ val, counter }) => [String(val), countOf(counter)])),
    refused: [...named('refused4'), ...named('refused6')].map(attemptOf),
  };
}

function setsOf(listing: string): { name: string; elements: Element[] }[] {
  const { nftables } = JSON.parse(listing) as { nftables: { set?: { name: string; elem?: unknown[] } }[] };
  return nftables.flatMap(({ set }) => (set ? [{ name: set.name, elements: (set.elem ?? []).map(elementOf) }] : []));
}

/** nft wraps an element only where there is more to say of it. */
function elementOf(item: unknown): Element {
  const wrapped = typeof item === 'object' && item !== null && 'elem' in item ? (item.elem as Element) : undefined;
  return wrapped ?? { val: item };
}

function countOf(counter: DropCount | undefined): DropCount {
  return { packets: counter?.packets ?? 0, bytes: counter?.bytes ?? 0 };
}

function attemptOf({ val, counter, expires }: Element): RefusedAttempt {
  const [from, to, protocol, port] = (val as { concat: unknown[] }).concat;
  const icmp = protocol === 'icmp' || protocol === 'ipv6-icmp';
  const number = Number(port);
  return {
    from: String(from),
    to: String(to),
    protocol: String(protocol),
    ...(icmp ? { icmp: { type: number >> 8, code: number & 255 } } : { port: number }),
    ...countOf(counter),
    ageMs: (REFUSED_TIMEOUT_S - (expires ?? REFUSED_TIMEOUT_S)) * 1000,
  };
}
