import { symlinkSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import type { ProcessIdentity } from './process-identity.js';

/** For which VM something of the host's is taken, and by whom. */
export interface Holder {
  readonly id: string;
  readonly runtimeDir: string;
  /** The program that made the VM. */
  readonly owner: ProcessIdentity;
}

/**
 * Makes the entry `path` with its holder as content, unless there is an entry of that name.
 *
 * The entry is a symbolic link whose target, which names no file, is the content: symlink(2) makes it whole or not at all and
 * never in the place of another, so nobody ever reads a part, and a program that dies leaves nothing unfinished behind.
 * @returns whether it was made; false when there is one of that name
 */
export function writeHolder(path: string, holder: Holder): boolean {
  const { id, runtimeDir, owner } = holder;
  try {
    symlinkSync(JSON.stringify({ id, runtimeDir, owner }), path); // a tenth of the time that the asynchronous call takes
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      return false;
    }
    throw error;
  }
}

/** The holder of an entry: undefined when there is no such entry, 'unknown' when it is none that this project wrote. */
export async function readHolder(path: string): Promise<Holder | 'unknown' | undefined> {
  try {
    return parse(await readlink(path));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : 'unknown';
  }
}

/** Whether two are of the same VM, of the same life of the same program. */
export function isSameHolder(a: Holder, b: Holder): boolean {
  return JSON.stringify([a.id, a.runtimeDir, ownerKey(a)]) === JSON.stringify([b.id, b.runtimeDir, ownerKey(b)]);
}

/** The program of a holder, as a key of a map. */
export function ownerKey({ owner }: Holder): string {
  return `${owner.pid} ${owner.startTime} ${owner.bootId}`;
}

function parse(text: string): Holder | 'unknown' {
  const { id, runtimeDir, owner } = JSON.parse(text) as Partial<Holder>;
  const isText = (value: unknown) => typeof value === 'string';
  const isWhole = [id, runtimeDir, owner?.startTime, owner?.bootId].every(isText) && Number.isInteger(owner?.pid);
  return isWhole ? ({ id, runtimeDir, owner } as Holder) : 'unknown';
}
