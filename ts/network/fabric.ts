import type { NetworkDefinition } from '../config/network.js';
import { SmartVMError } from '../errors.js';
import { activate, assertAlone, letForward } from './activation.js';
import { whileFabricUnlocked, withFabricLock } from './fabric-lock.js';
import {
  type AttachmentRecord,
  currentAttachment,
  forgetActive,
  forgetAttachment,
  markGoing,
  readActive,
  readAttachments,
  writeAttachment,
} from './host-state.js';
import { mtuOf } from './modes/bridged.js';
import { MODES } from './modes/modes.js';
import { linkElsewhere, ownerOf } from './plumbing/alias.js';
import { assertCanPlumb, runIp } from './plumbing/ip.js';
import { bridgeUp, linkDown } from './plumbing/lines.js';
import { removeNft, tryNft } from './plumbing/nft.js';
import { restoreForwarding } from './plumbing/sysctls.js';
import { networkElements, withdrawNetwork } from './policy/ruleset.js';
import { elementsOf, policyNetwork, putRules, rebuildRules, withdrawRules } from './rules.js';
import { routeVia, unrouteVia } from './via-routing.js';

/** Another program may make or remove the bridge at the same moment. */
const TRIES = 3;

/**
 * Makes what a VM has of the host for one interface, and what its network lacks: with one ip(8) and one nft(8), side by side, however
 * many there are. The record is on disk before.
 * @throws SmartVMError NET_ADMIN_MISSING, INTERFACE_TAKEN, INTERFACE_GONE, SUBNET_OVERLAPS, NETWORK_EXISTS, NETWORKS_ELSEWHERE,
 *   NETWORK_FAILED, TOOL_MISSING, CANCELED
 */
export async function bringUp(record: AttachmentRecord, signal?: AbortSignal): Promise<void> {
  const { definition } = record;
  const strategy = MODES[definition.mode];
  await writeAttachment(record);
  await whileFabricUnlocked(signal);
  const standing = await activate(definition);
  if (standing === 'damaged') {
    await reconcile(); // VMs that run lost what is made again
  }
  if (standing === 'new') {
    await makeLinks(record, signal);
    assertAlone(); // others, who came at the same moment, see these links as we see theirs
    await letForward(definition);
  }
  const rules = [...networkElements(policyNetwork(definition)), ...elementsOf(record)];
  // All of them: what one still makes would come after the undoing.
  const made = await Promise.allSettled([
    standing === 'new' ? undefined : makeLinks(record, signal),
    putRules(rules, signal),
    routeVia(definition, signal),
  ]);
  const failure = made.find((result) => result.status === 'rejected');
  if (failure) {
    throw failure.reason;
  }
  await strategy.upInside?.(record, signal);
}

/**
 * Undoes {@link bringUp}, however far it came; behind the last VM of a network, the network too.
 * @param record as anybody has known it: what was changed since is read
 */
export async function takeDown(record: AttachmentRecord): Promise<void> {
  if (!currentAttachment(record)) {
    return; // nothing was made, or somebody has undone it
  }
  await markGoing(record);
  await whileFabricUnlocked();
  const last = (await markGoing(record)) ?? record; // who changed it meanwhile has written it once more
  const lines = MODES[last.definition.mode].down(last);
  await Promise.all([lines.length > 0 ? runIp(lines, { force: true }) : undefined, withdrawRules(last)]);
  if (ownerOf(last.wire.tapName) === 'ours') {
    throw new SmartVMError('NETWORK_FAILED', `the interface ${last.wire.tapName} cannot be removed`);
  }
  await forgetAttachment(last);
  if (!(await isInUse(last.definition))) {
    await deactivate(last.definition);
  }
}

/** Repairs what others have taken away: bridges, their addresses, rules. VMs that run keep their connections. */
export async function reconcile(): Promise<void> {
  const active = await readActive();
  if (active.length === 0) {
    return;
  }
  await assertCanPlumb();
  await withFabricLock(async () => {
    const lines = active.flatMap((definition) => networkLines(definition));
    await runIp(lines);
    const records = await readAttachments();
    await runIp(records.flatMap(portLines), { force: true });
    await Promise.allSettled(active.map((definition) => routeVia(definition))); // where that interface is away, nothing leaves
    await rebuildRules();
  });
}

async function makeLinks(record: AttachmentRecord, signal: AbortSignal | undefined): Promise<void> {
  const { definition } = record;
  const strategy = MODES[definition.mode];
  for (let attempt = 1; ; attempt++) {
    try {
      await runIp([...networkLines(definition), ...strategy.up(record)], { signal });
      return;
    } catch (error) {
      const isRace = ['INTERFACE_TAKEN', 'INTERFACE_GONE'].includes((error as SmartVMError).code);
      const isLost = ownerOf(definition.bridge) === 'stranger';
      if (!isRace || isLost || attempt === TRIES || !strategy.ownsBridge) {
        throw error;
      }
      await runIp(strategy.down(record), { force: true }); // what of it was made before the failure
    }
  }
}

function networkLines(definition: NetworkDefinition): string[] {
  return MODES[definition.mode].ownsBridge ? bridgeUp(definition, mtuOf(definition)) : [];
}

/** A bridge that was made anew has lost its ports. */
function portLines({ definition: { bridge, isolated }, wire: { tapName } }: AttachmentRecord): string[] {
  return [
    `link set dev ${tapName} master ${bridge} up`,
    ...(isolated ? [`link set dev ${tapName} type bridge_slave isolated on`] : []),
  ];
}

async function isInUse({ name }: NetworkDefinition): Promise<boolean> {
  return (await readAttachments()).some(({ definition }) => definition.name === name);
}

/** Networks that are up and that nobody is in: who was to end one was killed over it. */
export async function idleNetworks(): Promise<NetworkDefinition[]> {
  const records = await readAttachments({ withGoing: true }); // whose undoing ends theirs
  const active = await readActive();
  return active.filter(({ name }) => !records.some(({ definition }) => definition.name === name));
}

/** Takes a network away, unless somebody is in it. It counts as up until all of it is gone, so that this can be done again. */
export async function deactivate(definition: NetworkDefinition): Promise<void> {
  await withFabricLock(async () => {
    if (await isInUse(definition)) {
      return;
    }
    const lines = MODES[definition.mode].ownsBridge ? linkDown(definition.bridge) : [];
    await (lines.length > 0 ? runIp(lines, { force: true }) : undefined);
    // Where others were here first, the rest is theirs.
    await (linkElsewhere() === undefined ? withdraw(definition) : undefined);
    await forgetActive(definition.name);
  });
}

async function withdraw(definition: NetworkDefinition): Promise<void> {
  await unrouteVia(definition);
  const active = await readActive();
  if (active.some(({ name }) => name !== definition.name)) {
    await tryNft(withdrawNetwork(policyNetwork(definition)));
    return;
  }
  await removeNft();
  await restoreForwarding();
}
