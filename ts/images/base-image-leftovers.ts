import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { tryLockFile } from '../util/file-lock.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { sweepTemporaries } from '../util/temporary-file.js';
import { sweepParts } from './parts.js';
import { lockOfBuild } from './store/build-lock.js';
import { type CollectedThing, leftFiles } from './store/collected.js';

const UNFINISHED = /^\.(.+)\.building-[^.]+$/;

export const locksFolder = (cacheDir: string) => join(cacheDir, '.locks');
export const partsFolder = (cacheDir: string) => join(cacheDir, '.parts');
export const notesFolder = (cacheDir: string) => join(cacheDir, '.presets');

/** Where a bundle is put together, by whoever has its lock. */
export function unfinishedBundle(cacheDir: string, bundleId: string): string {
  return join(cacheDir, `.${bundleId}.building-${randomUUID()}`);
}

/** All such folders of a bundle: to who has its lock, they are those of the dead. */
export async function unfinishedBundles(cacheDir: string, bundleId: string): Promise<string[]> {
  const names = await readdir(cacheDir);
  return names.filter((name) => UNFINISHED.exec(name)?.[1] === bundleId).map((name) => join(cacheDir, name));
}

/** Removes what was left of bundles, transfers and notes that were being made when their programs died, and of canceled transfers. */
export async function sweepBaseImages(cacheDir: string, dryRun: boolean): Promise<CollectedThing[]> {
  const names = await readdir(cacheDir).catch(() => []);
  const bundles = names.filter((name) => !name.startsWith('.')).map((name) => join(cacheDir, name));
  const folders = [notesFolder(cacheDir), ...bundles];
  const files = await Promise.all(folders.map((folder) => sweepTemporaries(folder, dryRun)));
  return [
    ...(await sweepUnfinished(cacheDir, names, dryRun)),
    ...leftFiles('image-transfer', await sweepParts(partsFolder(cacheDir), dryRun)),
    ...leftFiles('temporary-file', files.flat()),
  ];
}

async function sweepUnfinished(cacheDir: string, names: readonly string[], dryRun: boolean): Promise<CollectedThing[]> {
  const left: CollectedThing[] = [];
  const bundleIds = new Set(names.flatMap((name) => UNFINISHED.exec(name)?.[1] ?? []));
  if (bundleIds.size > 0) {
    await ensurePrivateDirectory(locksFolder(cacheDir));
  }
  for (const bundleId of bundleIds) {
    const lock = await tryLockFile(lockOfBuild(locksFolder(cacheDir), bundleId));
    if (lock) {
      for (const path of await unfinishedBundles(cacheDir, bundleId)) {
        dryRun || (await rm(path, { recursive: true, force: true }));
        left.push({ kind: 'image-build', name: path, sizeBytes: 0 });
      }
      await lock.release();
    }
  }
  return left;
}
