import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Holder, isSameHolder, readHolder } from '../util/holder.js';
import { lockLeases, releaseLeaseOf } from '../util/leases.js';
import { deactivate, idleNetworks, takeDown } from './fabric.js';
import { type AttachmentRecord, hostFolders, readAttachments } from './host-state.js';

/** Something of a network that a VM has, or has left, and how it is undone. */
export interface NetworkRemnant {
  readonly kind: 'network' | 'lease';
  /** For people. */
  readonly name: string;
  readonly remove: () => Promise<unknown>;
}

type IsHeld = (holder: Holder) => Promise<boolean>;

/** The interfaces of one VM with their rules: to be undone before anybody gets their addresses. */
export async function attachmentsOf(holder: Holder): Promise<NetworkRemnant[]> {
  return await attachments(async (other) => isSameHolder(other, holder));
}

/** Addresses and names of one VM. */
export async function networkLeasesOf(holder: Holder): Promise<NetworkRemnant[]> {
  return await leases(async (other) => isSameHolder(other, holder));
}

/** Those of dead VMs, and networks that nobody is in. @param isHeld false only for a VM that is proven dead */
export async function deadAttachments(isHeld: IsHeld): Promise<NetworkRemnant[]> {
  const idle = await idleNetworks();
  return [
    ...(await attachments(async (holder) => !(await isHeld(holder)))),
    ...idle.map((definition) => ({
      kind: 'network' as const,
      name: definition.name,
      remove: () => deactivate(definition),
    })),
  ];
}

/** As {@link deadAttachments}. */
export async function deadNetworkLeases(isHeld: IsHeld): Promise<NetworkRemnant[]> {
  return await leases(async (holder) => !(await isHeld(holder)));
}

/**
 * Undoes the interfaces of dead VMs. Whoever does so has the leases' lock: until a name is given back, which takes that lock too, no VM
 * that comes after can have an interface of that name.
 */
export async function undoDead(isHeld: IsHeld): Promise<void> {
  for (const record of await recordsOf(async (holder) => !(await isHeld(holder)))) {
    await takeDown(record);
  }
  for (const definition of await idleNetworks()) {
    await deactivate(definition);
  }
}

async function attachments(isWanted: IsHeld): Promise<NetworkRemnant[]> {
  return (await recordsOf(isWanted)).map((record) => ({
    kind: 'network',
    name: `${record.definition.name} ${record.wire.tapName}`,
    remove: async () => {
      await using _lock = await lockLeases(hostFolders().leases);
      await takeDown(record);
    },
  }));
}

async function recordsOf(isWanted: IsHeld): Promise<AttachmentRecord[]> {
  return await wanted(await readAttachments({ withGoing: true }), isWanted);
}

async function leases(isWanted: IsHeld): Promise<NetworkRemnant[]> {
  const directory = hostFolders().leases;
  const names = (await readdir(directory).catch(() => [])).filter((name) => /^(ip|mac|tap)-/.test(name));
  const entries = await Promise.all(
    names.map(async (name) => ({ name, holder: await readHolder(join(directory, name)) })),
  );
  const known = entries.flatMap(({ name, holder }) => (holder && holder !== 'unknown' ? [{ name, holder }] : []));
  return (await wanted(known, isWanted)).map(({ name, holder }) => ({
    kind: 'lease',
    name: `network ${name}`,
    remove: () => releaseLeaseOf(directory, name, holder),
  }));
}

async function wanted<T extends { readonly holder: Holder }>(all: readonly T[], isWanted: IsHeld): Promise<T[]> {
  const answers = await Promise.all(all.map(({ holder }) => isWanted(holder)));
  return all.filter((_one, index) => answers[index]);
}
