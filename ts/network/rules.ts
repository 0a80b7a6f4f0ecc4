import type { NetworkDefinition } from '../config/network.js';
import { SmartVMError } from '../errors.js';
import { assertAlone } from './activation.js';
import { withFabricLock } from './fabric-lock.js';
import { type AttachmentRecord, readActive, readAttachments, writeAttachment } from './host-state.js';
import { MODES } from './modes/modes.js';
import { linkElsewhere } from './plumbing/alias.js';
import { listNft, rebuildNft, tryNft } from './plumbing/nft.js';
import { countersOf, type NetworkCounters } from './policy/counters.js';
import type { NftCommand } from './policy/nft.js';
import {
  attachElements,
  detachElements,
  type PolicyAttachment,
  type PolicyNetwork,
  policyOf,
  withdrawPolicy,
} from './policy/ruleset.js';
import { reconcile } from './policy/sweep.js';

/**
 * Runs commands in one transaction; where the tables are not as they should be, all that is known of the host's VMs is put in, unless
 * that may take away what others have in them.
 * @throws SmartVMError NETWORK_FAILED, NETWORKS_ELSEWHERE, NET_ADMIN_MISSING, TOOL_MISSING, CANCELED
 */
export async function putRules(commands: readonly NftCommand[], signal?: AbortSignal): Promise<void> {
  if ((await tryNft(commands, signal)) !== 'done') {
    await withFabricLock(async () => {
      // Of several that find it so, the first puts in what it knows of all.
      const outcome = await tryNft(commands, signal);
      if (outcome === 'conflict') {
        assertAlone();
      }
      if (outcome !== 'done') {
        await rebuildRules(signal);
      }
    }, signal);
  }
}

/**
 * Makes the tables hold what the records say and nothing else, whatever others have left on the host: guests that run are to be held
 * back. By who has the lock, and a network that is up.
 * @throws SmartVMError NETWORK_FAILED, NET_ADMIN_MISSING, TOOL_MISSING, CANCELED
 */
export async function rebuildRules(signal?: AbortSignal): Promise<void> {
  const listings = await listNft(signal);
  const [networks, records] = [await readActive(), await readAttachments()];
  const wires = records.map(({ wire, definition, egress, ports }) => ({
    attachment: policyAttachment(wire, definition),
    egress,
    ports,
  }));
  const outcome = await rebuildNft(reconcile(listings, networks.map(policyNetwork), wires), signal);
  if (outcome !== 'done') {
    throw new SmartVMError(
      'NETWORK_FAILED',
      `the rules of ${records.length} VMs cannot be put in: nft says ${outcome}`,
    );
  }
}

/** What the tables have counted; undefined where they are missing. */
export async function readCounters(): Promise<NetworkCounters | undefined> {
  const listings = await listNft();
  return listings.length < 2 ? undefined : countersOf(...listings);
}

/** Changes policy or ports of an interface, as it is when this has the lock. @param find gives undefined where it has gone */
export async function changeRules(
  find: () => Promise<AttachmentRecord | undefined>,
  change: Partial<Pick<AttachmentRecord, 'egress' | 'ports'>>,
): Promise<AttachmentRecord | undefined> {
  return await withFabricLock(async () => {
    const before = await find();
    if (!before) {
      return undefined;
    }
    const after = { ...before, ...change };
    await writeAttachment(after);
    try {
      const outcome = await tryNft([...elementsAway(before), ...elementsOf(after), ...(await unusedPolicy(before))]);
      await (outcome === 'done' ? undefined : rebuildRules());
      return after;
    } catch (error) {
      await writeAttachment(before); // which is what still holds
      throw error;
    }
  });
}

/** Takes an interface that counts for nothing any more out of the rules, with a policy that nobody else has. */
export async function withdrawRules(record: AttachmentRecord): Promise<void> {
  const withdraw = async (more: readonly NftCommand[]) => await tryNft([...elementsAway(record), ...more]);
  // The policy of most VMs is that of others: then there is nothing that anybody else could be about to use.
  const isAlone = (await unusedPolicy(record)).length > 0;
  const outcome = isAlone
    ? await withFabricLock(async () => await withdraw(await unusedPolicy(record)))
    : await withdraw([]);
  if (outcome === 'conflict' && linkElsewhere() === undefined) {
    await withFabricLock(rebuildRules); // the record is out of date: whoever changed it was killed over it
  }
}

/** The commands that let an interface of a VM in. */
export function elementsOf({ wire, definition, egress, ports }: AttachmentRecord): NftCommand[] {
  return attachElements(policyAttachment(wire, definition), egress, ports);
}

export function policyNetwork({ bridge, mode, ipv4, ipv6, isolated, via }: NetworkDefinition): PolicyNetwork {
  return { bridge, owned: MODES[mode].ownsBridge, ipv4, ipv6, isolated, via };
}

/** Those that take it out. */
function elementsAway({ wire, definition, egress, ports }: AttachmentRecord): NftCommand[] {
  return detachElements(policyAttachment(wire, definition), egress, ports);
}

/** The commands that remove the policy of an interface, unless another of those that count has the same. */
async function unusedPolicy({ wire, egress }: AttachmentRecord): Promise<NftCommand[]> {
  const name = policyOf(egress, wire.dns);
  const others = await readAttachments();
  const isUsed = others.some((one) => policyOf(one.egress, one.wire.dns) === name);
  return isUsed ? [] : withdrawPolicy(egress, wire.dns);
}

function policyAttachment(wire: AttachmentRecord['wire'], definition: NetworkDefinition): PolicyAttachment {
  const { tapName, mac, ipv4, ipv6, dns } = wire;
  return { network: policyNetwork(definition), port: tapName, mac, ipv4, ipv6, dns };
}
