import { lstatSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { SmartVMError } from '../errors.js';
import { writeFileAtomic } from '../util/atomic-file.js';
import { readBoundedTextSync } from '../util/bounded-file.js';
import { temporaryFor } from '../util/temporary-file.js';
import {
  type FileRecord,
  type Fingerprint,
  fingerprintSync,
  sameFingerprint,
  verifyFile,
} from '../util/verified-file.js';
import type { IBaseImageBundle } from './base-image-types.js';
import { recordsOfUsers } from './store/uses.js';

const MANIFEST = 'manifest.json';
const MAX_MANIFEST_BYTES = 1024 * 1024;

/** What the cache notes beside the bundle: how its files were, and from what they were made. */
export interface StoredBundle extends IBaseImageBundle {
  readonly files?: {
    readonly kernel: FileRecord;
    readonly rootfs: FileRecord;
    /** sha256 of the manifest as it was checked. */
    readonly manifestSha256: string;
    /** Of artifacts without a checksum: what their files were when they were copied. */
    readonly sources: Readonly<Record<string, Fingerprint>>;
  };
}

/** The bundle of that id, if it is there with a readable manifest. @throws SmartVMError DIRECTORY_UNSAFE for a link in its place */
export function readBundle(cacheDir: string, bundleId: string): StoredBundle | undefined {
  const directory = join(cacheDir, bundleId);
  const stat = lstatSync(directory, { throwIfNoEntry: false });
  if (!stat) {
    return undefined;
  }
  if (!stat.isDirectory()) {
    throw new SmartVMError('DIRECTORY_UNSAFE', `${directory} is not a directory (a link is not followed); remove it`);
  }
  try {
    const bundle = JSON.parse(readBoundedTextSync(join(directory, MANIFEST), MAX_MANIFEST_BYTES)) as StoredBundle;
    return bundle.bundleId === bundleId ? bundle : undefined;
  } catch {
    return undefined;
  }
}

/** Notes that it was used now. Not brought to the disk: a bundle whose manifest is lost in a power cut is made again. */
export function touchBundle(directory: string, bundle: StoredBundle): StoredBundle {
  const used = { ...bundle, lastAccessedAt: new Date().toISOString() };
  const path = join(directory, MANIFEST);
  const temporary = temporaryFor(path);
  try {
    writeFileSync(temporary, `${JSON.stringify(used, null, 2)}\n`, { flag: 'wx', mode: 0o600 });
    renameSync(temporary, path);
  } catch {
    rmSync(temporary, { force: true }); // a disk that is full hinders no use
  }
  return used;
}

export async function writeBundle(directory: string, bundle: StoredBundle): Promise<void> {
  await writeFileAtomic(join(directory, MANIFEST), `${JSON.stringify(bundle, null, 2)}\n`);
}

/** Whether both files of a bundle still have the bytes that were verified when it was made. */
export async function bundleIsWhole(cacheDir: string, { bundleId, files, ...bundle }: StoredBundle): Promise<boolean> {
  if (!files) {
    return false;
  }
  const directory = join(cacheDir, bundleId);
  const inPlace = [bundle.kernelImagePath, bundle.rootfsPath].every((path) => path.startsWith(`${directory}/`));
  const isTrusted = (path: string, record: FileRecord) => sameFingerprint(fingerprintSync(path), record.fingerprint);
  if (inPlace && isTrusted(bundle.kernelImagePath, files.kernel) && isTrusted(bundle.rootfsPath, files.rootfs)) {
    return true;
  }
  const verdicts = await Promise.all([
    verifyFile(bundle.kernelImagePath, files.kernel),
    verifyFile(bundle.rootfsPath, files.rootfs),
  ]);
  return inPlace && !verdicts.includes('corrupt');
}

/**
 * Removes the bundles that were used longest ago and that no VM's record names, until `max` are left.
 * @param keepBundleId is never removed
 * @returns the ids of those removed
 */
export async function evictBundles(cacheDir: string, max: number, keepBundleId: string): Promise<string[]> {
  const names = await readdir(cacheDir, { withFileTypes: true }).catch(() => []);
  const directories = names.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'));
  if (directories.length <= max) {
    return [];
  }
  const bundles = directories.map(({ name }) => readBundle(cacheDir, name));
  const stored = bundles.filter((bundle) => bundle !== undefined);
  const lastUse = (bundle: StoredBundle) => Date.parse(bundle.lastAccessedAt) || 0;
  const oldestFirst = stored.sort((a, b) => lastUse(a) - lastUse(b));
  const evictable = oldestFirst.filter(({ bundleId }) => bundleId !== keepBundleId);
  const surplus = Math.max(0, stored.length - max);
  const records = surplus > 0 ? await recordsOfUsers(cacheDir) : [];
  const isUsed = ({ bundleId }: StoredBundle) =>
    records.some(({ text }) => text.includes(JSON.stringify(`${resolve(cacheDir, bundleId)}/`).slice(1, -1)));
  const unused = evictable.filter((bundle) => !isUsed(bundle));
  const evicted = unused.slice(0, surplus).map(({ bundleId }) => bundleId);
  for (const bundleId of evicted) {
    console.warn(`Evicting ${bundleId} from the base image cache ${cacheDir}: it keeps ${max}`);
    await rm(join(cacheDir, bundleId), { recursive: true, force: true });
  }
  return evicted;
}
