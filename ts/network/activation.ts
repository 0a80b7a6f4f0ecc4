import { existsSync } from 'node:fs';
import type { NetworkDefinition } from '../config/network.js';
import { SmartVMError } from '../errors.js';
import { shellWord } from '../util/shell-word.js';
import { conflictOf, overlapError } from './definition-store.js';
import { readActive, readAttachments, writeActive } from './host-state.js';
import { MODES } from './modes/modes.js';
import { type ForeignLink, foreignLink, linkElsewhere, ownerOf } from './plumbing/alias.js';
import { enableForwarding } from './plumbing/sysctls.js';

/**
 * Makes a network known to every program of the host, before its first VM is.
 * @returns `damaged` where VMs are in it whose bridge somebody has removed
 * @throws SmartVMError NETWORK_EXISTS, NETWORKS_ELSEWHERE, INTERFACE_TAKEN, INTERFACE_GONE, SUBNET_OVERLAPS, NETWORK_FAILED
 */
export async function activate(definition: NetworkDefinition): Promise<'new' | 'up' | 'damaged'> {
  const active = await readActive();
  const same = active.find(({ name }) => name === definition.name);
  if (same && JSON.stringify(same) !== JSON.stringify(definition)) {
    throw new SmartVMError(
      'NETWORK_EXISTS',
      `the network ${definition.name} is up with another definition (${same.bridge}, ${same.ipv4}): stop its VMs first`,
      { details: { name: definition.name, bridge: same.bridge, ipv4: same.ipv4 } },
    );
  }
  if (!same) {
    assertAlone();
  }
  const { ownsBridge } = MODES[definition.mode];
  if (!ownsBridge) {
    assertBridge(definition);
  } else if (!same || ownerOf(definition.bridge) !== 'ours') {
    assertFree(definition, active);
  }
  if (!same) {
    await writeActive(definition);
    return 'new';
  }
  await letForward(definition);
  return ownsBridge && ownerOf(definition.bridge) === 'absent' && (await hasPorts(definition)) ? 'damaged' : 'up';
}

/**
 * Lets the host forward what guests of a network send. For a new one it is to be known that it stays: who is refused one changes no
 * settings, which those who have networks may not restore.
 * @throws SmartVMError NETWORK_FAILED, FILE_WRITE_FAILED
 */
export async function letForward({ mode, ipv6, via }: NetworkDefinition): Promise<void> {
  if (MODES[mode].ownsBridge) {
    await enableForwarding({ ipv6: ipv6 !== undefined, via });
  }
}

/**
 * Tables and settings are one for all networks of a host: who knows only some would take away what the others need.
 * @throws SmartVMError NETWORKS_ELSEWHERE
 */
export function assertAlone(): void {
  const link = linkElsewhere();
  if (link !== undefined) {
    const { name, runtimeDir } = link;
    throw new SmartVMError('NETWORKS_ELSEWHERE', whoseNetworks(link), { details: { interface: name, runtimeDir } });
  }
}

function whoseNetworks({ name, runtimeDir }: ForeignLink): string {
  if (runtimeDir !== undefined && existsSync(runtimeDir)) {
    return `the networks of this host are kept in ${runtimeDir}: set SMARTVM_RUNTIME_DIR to that (\`runtimeDir\` may differ), stop those VMs, or go to a network namespace; where ${name} is left of VMs that are dead, this removes it: SMARTVM_RUNTIME_DIR=${shellWord(runtimeDir)} smartvm prune`;
  }
  const where = runtimeDir === undefined ? 'a directory that it does not name' : `${runtimeDir}, which is not there`;
  return `the networks of this host, the interface ${name} among them, are kept in ${where}: go to a network namespace, or, where no VM is behind it any more, remove it: ip link delete ${name}`;
}

/** Whether interfaces of VMs are there, which are made behind the bridge. */
async function hasPorts({ name }: NetworkDefinition): Promise<boolean> {
  const records = await readAttachments();
  return records.some(({ definition, wire }) => definition.name === name && ownerOf(wire.tapName) === 'ours');
}

function assertBridge({ name, bridge }: NetworkDefinition): void {
  if (!existsSync(`/sys/class/net/${bridge}/bridge`)) {
    throw new SmartVMError(
      'INTERFACE_GONE',
      `the network ${name} is of the bridge ${bridge}, and there is no bridge of that name: make it, or name another`,
      { details: { name, bridge } },
    );
  }
}

/** @throws SmartVMError INTERFACE_TAKEN, SUBNET_OVERLAPS */
function assertFree({ name, bridge, ipv4, ipv6, via }: NetworkDefinition, active: readonly NetworkDefinition[]): void {
  if (ownerOf(bridge) === 'stranger') {
    const left = foreignLink(bridge);
    const what =
      left === undefined
        ? "that is not SmartVM's: name another"
        : `that programs with another SMARTVM_RUNTIME_DIR (${left.runtimeDir ?? 'it does not say which'}) have made: where no VM is behind it, remove it (ip link delete ${bridge})`;
    throw new SmartVMError(
      'INTERFACE_TAKEN',
      `the network ${name} would make the bridge ${bridge}, and there is an interface of that name ${what}`,
      { details: { name, bridge } },
    );
  }
  if (via !== undefined && ownerOf(via) === 'absent') {
    throw new SmartVMError('INTERFACE_GONE', `the network ${name} leaves by ${via}, and there is no such interface`, {
      details: { name, via },
    });
  }
  const others = active.filter((one) => one.name !== name);
  for (const cidr of [ipv4, ...(ipv6 === undefined ? [] : [ipv6])]) {
    const other = conflictOf(cidr, bridge, others);
    if (other !== undefined) {
      throw overlapError(cidr, name, other);
    }
  }
}
