import { createHash, randomBytes } from 'node:crypto';
import { symlinkSync } from 'node:fs';
import { readdir, readlink, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { readBoundedText } from '../../util/bounded-file.js';
import { type Holder, readHolder, writeHolder } from '../../util/holder.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import { isAlive } from '../../util/process-identity.js';

/** Who uses what: the ids of VMs, by the file or sha256 that their records name. */
export type Uses = ReadonlyMap<string, readonly string[]>;

const RECORD = 'vm.json';
const MAX_RECORD_BYTES = 1 << 20;
/** A layer that is kept, by its description, which stands in a folder of such and names its image's parts, too. */
const LAYER = /^(.*)\.json$/;
const SHA256 = /[0-9a-f]{64}/g;

/**
 * Notes that VMs below a runtime directory, or layers in a folder, use this cache. Their records name what they use, so that no second account can go
 * wrong; a cache only has to know where records are.
 */
export async function noteRuntimeDir(root: string, runtimeDir: string): Promise<void> {
  const folder = join(root, '.users');
  await ensurePrivateDirectory(folder);
  const path = resolve(runtimeDir);
  const name = createHash('sha256').update(path).digest('hex').slice(0, 16);
  try {
    symlinkSync(path, join(folder, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw error;
    }
  }
}

/** The records, as text, of all VMs that may use this cache; ones that cannot be understood by this version count too. */
export async function recordsOfUsers(root: string): Promise<{ readonly id: string; readonly text: string }[]> {
  const folder = join(root, '.users');
  const names = await readdir(folder).catch(() => []);
  const directories = await Promise.all(names.map((name) => readlink(join(folder, name)).catch(() => undefined)));
  const records = directories.filter((directory) => directory !== undefined).map(recordsBelow);
  return (await Promise.all(records)).flat();
}

async function recordsBelow(runtimeDir: string): Promise<{ id: string; text: string }[]> {
  const ids = await readdir(runtimeDir).catch(() => []);
  const records = ids.map(async (id) => {
    const path = id.endsWith('.json') ? join(runtimeDir, id) : join(runtimeDir, id, RECORD);
    const text = await readBoundedText(path, MAX_RECORD_BYTES, false).catch(() => undefined);
    return text === undefined ? [] : [{ id: id.replace(LAYER, 'layer $1'), text }];
  });
  return (await Promise.all(records)).flat();
}

/** Keeps blobs from being removed until the VM for which they are has its record, or its program is dead. */
export async function holdBlobs(
  root: string,
  blobs: readonly string[],
  holder: Holder,
): Promise<() => Promise<unknown>> {
  const folder = join(root, 'holds');
  await ensurePrivateDirectory(folder);
  const paths = blobs.map((sha256) => join(folder, `${sha256}.${randomBytes(6).toString('hex')}`));
  for (const path of paths) {
    writeHolder(path, holder);
  }
  return () => Promise.all(paths.map((path) => unlink(path).catch(() => undefined)));
}

/** The blobs that VMs use, and those that are held for VMs that start; the holds of the dead are removed. */
export async function usesOfBlobs(root: string): Promise<Uses> {
  const uses = new Map<string, string[]>();
  const add = (sha256: string, id: string) => {
    const ids = uses.get(sha256) ?? [];
    uses.set(sha256, ids.includes(id) ? ids : [...ids, id]);
  };
  // Holds first: one becomes a record, never the other way round.
  for (const { sha256, id } of await liveHolds(join(root, 'holds'))) {
    add(sha256, id);
  }
  for (const { id, text } of await recordsOfUsers(root)) {
    for (const sha256 of new Set(text.match(SHA256))) {
      add(sha256, id);
    }
  }
  return uses;
}

async function liveHolds(folder: string): Promise<{ sha256: string; id: string }[]> {
  const names = await readdir(folder).catch(() => []);
  const holds = names.map(async (name) => {
    const path = join(folder, name);
    const holder = await readHolder(path);
    const [sha256 = ''] = name.split('.');
    if (holder !== undefined && holder !== 'unknown' && !(await isAlive(holder.owner))) {
      await unlink(path).catch(() => undefined);
      return [];
    }
    return holder === undefined ? [] : [{ sha256, id: holder === 'unknown' ? '?' : holder.id }];
  });
  return (await Promise.all(holds)).flat();
}
