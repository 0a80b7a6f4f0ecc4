import type { Egress } from '../../config/egress.js';
import type { PublishedPort } from '../../config/publish.js';
import { BASE_RULESET } from './base.js';
import { attachmentSets, type ElementSet, networkSets } from './elements.js';
import { addElements, dropElements, interfaceName, type NftCommand, TABLE } from './nft.js';
import { compileEgress, policyChains } from './policy-chains.js';

/** What the rules have to know of a network. */
export interface PolicyNetwork {
  /** The bridge that its guests' wires are ports of. */
  readonly bridge: string;
  /** Whether its bridge is ours. On one of somebody else, this host may be no router: its guests' frames are checked, and no policy holds. */
  readonly owned: boolean;
  /** In CIDR notation. */
  readonly ipv4?: string | undefined;
  readonly ipv6?: string | undefined;
  /** Whether its guests are kept apart. */
  readonly isolated: boolean;
  /** The only interface of the host by which its traffic may leave. */
  readonly via?: string | undefined;
}

/** One wire of a guest. */
export interface PolicyAttachment {
  readonly network: PolicyNetwork;
  /** The port of the bridge: the TAP, or what leads to it. */
  readonly port: string;
  readonly mac: string;
  /** Addresses without prefix. With neither, as on a bridge with a DHCP server of its own, the MAC alone is held to. */
  readonly ipv4?: string | undefined;
  readonly ipv6?: string | undefined;
  /** Addresses of the name servers that this guest asks. */
  readonly dns: readonly string[];
}

/** A published port whose `hostPort` has been found. */
export type BoundPort = PublishedPort;

/**
 * What `nft -f -` reads to make both tables with their sets and chains. It may be run at any time: chains are replaced in one
 * transaction, and the elements of sets stay. Where the tables had been flushed away, all elements are to be added again.
 */
export function baseRuleset(): string {
  return BASE_RULESET;
}

/** The commands that make a network known. Idempotent. */
export function networkElements(network: PolicyNetwork): NftCommand[] {
  return networkSets(network).flatMap(add);
}

/** The commands that forget a network none of whose attachments is left. Idempotent. */
export function withdrawNetwork(network: PolicyNetwork): NftCommand[] {
  return networkSets(network).flatMap(drop);
}

/** The commands that let a guest's wire in, in one transaction: idempotent, and of one size however many there are already. */
export function attachElements(
  attachment: PolicyAttachment,
  egress: Egress,
  ports: readonly BoundPort[] = [],
): NftCommand[] {
  const policy = compileEgress(egress, attachment.dns);
  return [...policyChains(policy), ...attachmentSets(attachment, policy, ports).flatMap(add)];
}

/** The commands that change policy and ports of a wire that has `before`, in one transaction. They hold for open connections too. */
export function changeElements(
  attachment: PolicyAttachment,
  before: { readonly egress: Egress; readonly ports: readonly BoundPort[] },
  after: { readonly egress: Egress; readonly ports: readonly BoundPort[] },
): NftCommand[] {
  return [
    ...detachElements(attachment, before.egress, before.ports),
    ...attachElements(attachment, after.egress, after.ports),
  ];
}

/** The commands that keep the guests of a network apart from now on, or no longer. `before` and `after` differ in nothing else. */
export function changeIsolation(
  before: PolicyNetwork,
  after: PolicyNetwork,
  attachments: readonly PolicyAttachment[],
): NftCommand[] {
  const ports = attachments.map(({ port }) => interfaceName(port));
  const edit = after.isolated ? addElements : dropElements;
  return [...withdrawNetwork(before), ...networkElements(after), ...edit('bridge', 'isolated', ports)];
}

/** What a policy is known by: one that means the same has the same. */
export function policyOf(egress: Egress, dns: readonly string[]): string {
  return compileEgress(egress, dns).egress;
}

/** The commands that remove the chains of a policy that no guest has any more, behind those that took the last one out. */
export function withdrawPolicy(egress: Egress, dns: readonly string[]): NftCommand[] {
  const policy = compileEgress(egress, dns);
  return [policy.egress, policy.host].flatMap((name) => [
    `add chain inet ${TABLE} ${name}`,
    `delete chain inet ${TABLE} ${name}`,
  ]);
}

/** The commands that take a wire out again, given as it was let in. Idempotent. Its policy's chains stay, for others may have them. */
export function detachElements(
  attachment: PolicyAttachment,
  egress: Egress,
  ports: readonly BoundPort[] = [],
): NftCommand[] {
  const policy = compileEgress(egress, attachment.dns);
  // A verdict names a chain, which has to be there even where the element is only to be deleted.
  return [...policyChains(policy), ...attachmentSets(attachment, policy, ports).flatMap(drop)];
}

function add({ family, name, elements }: ElementSet): NftCommand[] {
  return addElements(family, name, elements);
}

function drop({ family, name, elements }: ElementSet): NftCommand[] {
  return dropElements(family, name, elements);
}
