import type { Egress } from '../../config/egress.js';
import { isRecord } from '../../config/validation/checks.js';
import { attachmentSets, type ElementSet, networkSets } from './elements.js';
import { type NftCommand, TABLE } from './nft.js';
import { compileEgress } from './policy-chains.js';
import {
  attachElements,
  type BoundPort,
  networkElements,
  type PolicyAttachment,
  type PolicyNetwork,
} from './ruleset.js';

/** A wire, and what it may. */
export interface Wire {
  readonly attachment: PolicyAttachment;
  readonly egress: Egress;
  readonly ports: readonly BoundPort[];
}

const POLICY_CHAIN = /^(?:egress|host)-[0-9a-f]{16}$/;
/** What the kernel itself puts in, and what is the same for all. */
const KEPT = /^(?:refused|private|link_local|metadata|multicast|reserved|protected)[46]$/;

/**
 * The commands that make the tables hold what is there and nothing else, in one transaction behind the base ruleset: of the rest, every
 * element and every policy that nobody has goes. Counters of what stays, stay.
 * @param listings answers of `nft -j list table inet smartvm` and `nft -j list table bridge smartvm`
 */
export function reconcile(
  listings: readonly string[],
  networks: readonly PolicyNetwork[],
  wires: readonly Wire[],
): NftCommand[] {
  const wanted = new Set([
    ...networks.flatMap(networkSets).flatMap(keysOf),
    ...wires.flatMap(({ attachment, egress, ports }) =>
      attachmentSets(attachment, compileEgress(egress, attachment.dns), ports).flatMap(keysOf),
    ),
  ]);
  const chains = new Set(
    wires.flatMap(({ attachment, egress }) => {
      const policy = compileEgress(egress, attachment.dns);
      return [policy.egress, policy.host];
    }),
  );
  const items = listings.flatMap((listing) => (JSON.parse(listing) as Listing).nftables);
  return [
    ...items.flatMap((item) => strays(item.set ?? item.map, wanted)),
    ...networks.flatMap(networkElements),
    ...wires.flatMap(({ attachment, egress, ports }) => attachElements(attachment, egress, ports)),
    ...items.flatMap(({ chain }) =>
      chain && POLICY_CHAIN.test(chain.name) && !chains.has(chain.name)
        ? [`delete chain inet ${TABLE} ${chain.name}`]
        : [],
    ),
  ];
}

interface ListedSet {
  readonly family: string;
  readonly name: string;
  readonly type: string | readonly string[];
  readonly elem?: readonly unknown[];
}

interface Listing {
  readonly nftables: readonly {
    readonly set?: ListedSet;
    readonly map?: ListedSet;
    readonly chain?: { readonly name: string };
  }[];
}

function keysOf({ family, name, elements }: ElementSet): string[] {
  return elements.map((element) => `${family} ${name} ${element.replaceAll('"', '')}`);
}

function strays(set: ListedSet | undefined, wanted: ReadonlySet<string>): NftCommand[] {
  if (!set || KEPT.test(set.name)) {
    return [];
  }
  const { family, name, type } = set;
  const types = typeof type === 'string' ? [type] : type;
  const gone = (set.elem ?? []).map(partsOf).filter(({ key, value }) => {
    const text = [key.join(' . '), ...(value === undefined ? [] : [value])].join(' : ');
    return !wanted.has(`${family} ${name} ${text}`);
  });
  return gone.map(({ key }) => {
    const quoted = key.map((part, index) => (types[index] === 'ifname' ? `"${part}"` : part));
    return `delete element ${family} ${TABLE} ${name} { ${quoted.join(' . ')} }`;
  });
}

/** An element as nft lists it: alone, as `[key, value]` of a map, and wrapped where it has a counter. */
function partsOf(item: unknown): { key: string[]; value?: string } {
  if (Array.isArray(item)) {
    const [key, value] = item as [unknown, unknown];
    return { key: partOf(key), value: partOf(value).join(' . ') };
  }
  return { key: partOf(item) };
}

function partOf(item: unknown): string[] {
  if (!isRecord(item)) {
    return [String(item)];
  }
  if (isRecord(item.elem)) {
    return partOf(item.elem.val);
  }
  if (isRecord(item.prefix)) {
    return [`${item.prefix.addr}/${item.prefix.len}`];
  }
  if (isRecord(item.goto)) {
    return [`goto ${item.goto.target}`];
  }
  return Array.isArray(item.concat) ? item.concat.flatMap(partOf) : [JSON.stringify(item)];
}
