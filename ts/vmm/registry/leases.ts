import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Holder, isSameHolder, readHolder } from '../../util/holder.js';
import { releaseLeaseOf } from '../../util/leases.js';
import { isHolderAlive } from '../holder.js';
import { openLeaseDirectory } from '../lease-directory.js';
import type { Remnant } from './remnants.js';

type Kind = 'uid' | 'capacity';

interface Entry {
  readonly kind: Kind;
  readonly name: string;
  readonly holder: Holder;
}

/** The leases and reservations of one VM. */
export async function leasesOf(holder: Holder): Promise<Remnant[]> {
  const entries = await allEntries();
  return entries.filter((entry) => isSameHolder(entry.holder, holder)).map(asRemnant);
}

/** Those of VMs that have ended, their keepers and programs with them. */
export async function deadLeases(): Promise<Remnant[]> {
  const entries = await allEntries();
  const alive = await Promise.all(entries.map(({ holder }) => isHolderAlive(holder)));
  return entries.filter((_entry, index) => !alive[index]).map(asRemnant);
}

async function allEntries(): Promise<Entry[]> {
  const kinds: readonly Kind[] = ['uid', 'capacity'];
  const lists = await Promise.all(
    kinds.map(async (kind) => {
      const directory = await openLeaseDirectory(kind);
      const names = (await readdir(directory)).filter((name) => !name.startsWith('.'));
      return await Promise.all(
        names.map(async (name) => ({ kind, name, holder: await readHolder(join(directory, name)) })),
      );
    }),
  );
  return lists.flat().filter((entry): entry is Entry => entry.holder !== undefined && entry.holder !== 'unknown');
}

function asRemnant(entry: Entry): Remnant {
  return { kind: 'lease', name: `${entry.kind} ${entry.name}`, remove: () => release(entry) };
}

async function release({ kind, name, holder }: Entry): Promise<void> {
  const directory = await openLeaseDirectory(kind);
  if (kind === 'uid') {
    await releaseLeaseOf(directory, name, holder);
  } else {
    await rm(join(directory, name), { force: true }); // such a name is one reservation's for ever
  }
}
