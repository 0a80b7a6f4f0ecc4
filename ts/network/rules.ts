import type { NetworkDefinition } from '../config/network.js';
import type { Holder } from '../util/holder.js';
import { withFabricLock } from './fabric-lock.js';
import { type AttachmentRecord, readActive, readAttachments } from './host-state.js';
import { MODES } from './modes/modes.js';
import { rebuildNft, tryNft } from './plumbing/nft.js';
import type { NftCommand } from './policy/nft.js';
import {
  attachElements,
  detachElements,
  networkElements,
  type PolicyAttachment,
  type PolicyNetwork,
} from './policy/ruleset.js';

/** Runs commands in one transaction; where the tables are not there, they are made with all that is known of the host's VMs. */
export async function putRules(commands: readonly NftCommand[], holder: Holder, signal?: AbortSignal): Promise<void> {
  if (await tryNft(commands, signal)) {
    return;
  }
  // Of several programs that find it gone, one after the other: each puts in what it knows of all.
  await withFabricLock(holder, () => rebuildRules(signal), signal);
}

/** By who has the lock. */
export async function rebuildRules(signal?: AbortSignal): Promise<void> {
  const [networks, records] = [await readActive(), await readAttachments()];
  const elements = [...networks.map(policyNetwork).flatMap(networkElements), ...records.flatMap(elementsOf)];
  await rebuildNft(elements, signal);
}

/** The commands that let an interface of a VM in. */
export function elementsOf({ wire, definition, egress, ports }: AttachmentRecord): NftCommand[] {
  return attachElements(policyAttachment(wire, definition), egress, ports);
}

/** Those that take it out. */
export function elementsAway({ wire, definition, egress, ports }: AttachmentRecord): NftCommand[] {
  return detachElements(policyAttachment(wire, definition), egress, ports);
}

export function policyNetwork({ bridge, mode, ipv4, ipv6, isolated, via }: NetworkDefinition): PolicyNetwork {
  return { bridge, owned: MODES[mode].ownsBridge, ipv4, ipv6, isolated, via };
}

function policyAttachment(wire: AttachmentRecord['wire'], definition: NetworkDefinition): PolicyAttachment {
  const { tapName, mac, ipv4, ipv6, dns } = wire;
  return { network: policyNetwork(definition), port: tapName, mac, ipv4, ipv6, dns };
}
