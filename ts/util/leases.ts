import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type FileLock, lockFile } from './file-lock.js';
import { type Holder, isSameHolder, readHolder, writeHolder } from './holder.js';

/** A name that is one holder's alone, among all programs of the host that use the directory. */
export interface Lease {
  readonly name: string;
  /** Gives the name back, once; a lease that is another's by now stays. */
  release(): Promise<void>;
}

export interface LeaseOptions {
  /** A directory of this user's own (0700). */
  readonly directory: string;
  /** The names, file names without a dot in front, in the order in which they are tried. Gone through once. */
  readonly candidates: Iterable<string>;
  /** Its owner is this program: that its owner lives is what keeps others from taking the lease over. */
  readonly holder: Holder;
  /** False only for a holder that is proven dead. */
  readonly isHeld: (holder: Holder) => Promise<boolean>;
  /** Which of these names, whose holders are dead, may be used again. Default: all. */
  readonly reclaimable?: (names: readonly string[]) => Promise<readonly string[]>;
  readonly signal?: AbortSignal | undefined;
}

const LOCK = '.lock';
const BATCH = 64;

/**
 * Takes the first name that nobody holds; when there is none, the first whose holder is dead.
 *
 * To take a free name needs no lock: of several who make an entry, one succeeds. A dead holder's entry is removed under a lock,
 * for of two who saw it the second would else remove what the first has put in its place. Nobody but these two, its owner and
 * whoever has the lock, ever removes one.
 * @returns undefined when every name is held, also by a holder of whom nothing can be said
 * @throws SmartVMError CANCELED, TOOL_MISSING, TOOL_FAILED
 */
export async function acquireLease(options: LeaseOptions): Promise<Lease | undefined> {
  const { directory, candidates } = options;
  const held: string[] = [];
  let taken: ReadonlySet<string> | undefined;
  for (const name of candidates) {
    if (!taken?.has(name)) {
      const lease = await take(options, name);
      if (lease) {
        return lease;
      }
      taken ??= new Set(await readdir(directory)); // one look in place of a try for each of them
    }
    held.push(name);
  }
  return held.length > 0 ? await reclaim(options, held) : undefined;
}

/** The lock under which names of dead holders are given back. @throws SmartVMError TOOL_MISSING, TOOL_FAILED, CANCELED */
export async function lockLeases(directory: string, signal?: AbortSignal): Promise<FileLock> {
  return await lockFile(join(directory, LOCK), signal);
}

/**
 * Gives a name back for a holder that is dead, unless it is another's by now.
 * @throws SmartVMError TOOL_MISSING, TOOL_FAILED
 */
export async function releaseLeaseOf(directory: string, name: string, holder: Holder): Promise<void> {
  await using _lock = await lockLeases(directory);
  const path = join(directory, name);
  const current = await readHolder(path);
  if (current && current !== 'unknown' && isSameHolder(current, holder)) {
    await unlink(path);
  }
}

async function take({ directory, holder }: LeaseOptions, name: string): Promise<Lease | undefined> {
  const path = join(directory, name);
  if (!writeHolder(path, holder)) {
    return undefined;
  }
  let released: Promise<void> | undefined;
  const release = async () => {
    const current = await readHolder(path);
    if (current && current !== 'unknown' && isSameHolder(current, holder)) {
      await unlink(path);
    }
  };
  return {
    name,
    release: () => {
      released ??= release();
      return released;
    },
  };
}

async function reclaim(options: LeaseOptions, held: readonly string[]): Promise<Lease | undefined> {
  const { directory, signal, reclaimable = async (names) => names } = options;
  await using _lock = await lockLeases(directory, signal);
  for (let start = 0; start < held.length; start += BATCH) {
    const batch = held.slice(start, start + BATCH);
    const states = await Promise.all(batch.map((name) => stateOf(options, name)));
    const dead = batch.filter((_name, index) => states[index] === 'dead');
    const usable = dead.length > 0 ? await reclaimable(dead) : [];
    await Promise.all(usable.map((name) => unlink(join(directory, name))));
    for (const name of [...usable, ...batch.filter((_name, index) => states[index] === 'free')]) {
      const lease = await take(options, name); // others, who need no lock, may have been faster
      if (lease) {
        return lease;
      }
    }
  }
  return undefined;
}

async function stateOf({ directory, isHeld }: LeaseOptions, name: string): Promise<'free' | 'held' | 'dead'> {
  const holder = await readHolder(join(directory, name));
  if (holder === undefined) {
    return 'free';
  }
  return holder === 'unknown' || (await isHeld(holder)) ? 'held' : 'dead';
}
