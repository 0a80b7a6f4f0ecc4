import { createHash } from 'node:crypto';
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { writeFileAtomic } from '../util/atomic-file.js';
import { type FileRecord, recordFile, verifyFile } from '../util/verified-file.js';
import type { Arch, BundleContent } from './image-types.js';

const SCHEMA_VERSION = 1;
const MANIFEST = 'manifest.json';
const MAX_MANIFEST_BYTES = 1 << 20;

/** A cached image's manifest.json: written last, so that a folder which has one is whole. */
export interface ImageBundle extends BundleContent {
  readonly schemaVersion: number;
  readonly name: string;
  readonly arch: Arch;
  readonly recipe: string;
  readonly digest: string;
  readonly createdAt: string;
  readonly records: Readonly<Record<string, FileRecord>>;
}

/** Describes the files in a bundle's folder and writes its manifest. */
export async function sealBundle(
  directory: string,
  identity: { name: string; arch: Arch; recipe: string },
  content: BundleContent,
): Promise<void> {
  const records: Record<string, FileRecord> = {};
  for (const file of Object.values(content.files)) {
    records[file] = await recordFile(join(directory, file));
  }
  const parts = Object.entries(records).map(([file, { sha256 }]) => [file, sha256]);
  const described = JSON.stringify([identity.name, identity.arch, identity.recipe, content.bootArgs, parts.sort()]);
  const digest = `sha256:${createHash('sha256').update(described).digest('hex')}`;
  const createdAt = new Date().toISOString();
  const bundle: ImageBundle = { schemaVersion: SCHEMA_VERSION, ...identity, digest, ...content, createdAt, records };
  await writeManifest(directory, bundle);
}

/** `absent`: none, or one of another recipe or version. `corrupt`: the manifest or a file is not what was written. */
export type OpenedBundle =
  | { readonly state: 'whole'; readonly bundle: ImageBundle }
  | { readonly state: 'absent' | 'corrupt' };

/** Reads a cached bundle and makes sure of its bytes: by the files' stat fingerprints, by hashing them where one has changed. */
export async function openBundle(directory: string, recipe: string): Promise<OpenedBundle> {
  const stat = await lstat(directory).catch(() => undefined);
  if (!stat) {
    return { state: 'absent' };
  }
  if (!stat.isDirectory()) {
    throw new SmartVMError('DIRECTORY_UNSAFE', `${directory} is not a directory (a link is not followed); remove it`);
  }
  const bundle = await readManifest(directory);
  if (!bundle) {
    return { state: 'corrupt' };
  }
  if (bundle.recipe !== recipe || bundle.schemaVersion !== SCHEMA_VERSION) {
    return { state: 'absent' };
  }
  const entries = Object.entries(bundle.records);
  const verdicts = await Promise.all(entries.map(([file, record]) => verifyFile(join(directory, file), record)));
  if (verdicts.includes('corrupt')) {
    return { state: 'corrupt' };
  }
  if (verdicts.includes('rehashed')) {
    const records = await Promise.all(entries.map(async ([file]) => [file, await recordFile(join(directory, file))]));
    await writeManifest(directory, { ...bundle, records: Object.fromEntries(records) });
  }
  return { state: 'whole', bundle };
}

async function readManifest(directory: string): Promise<ImageBundle | undefined> {
  const path = join(directory, MANIFEST);
  const stat = await lstat(path).catch(() => undefined);
  if (!stat?.isFile() || stat.size > MAX_MANIFEST_BYTES) {
    return undefined;
  }
  try {
    const bundle = JSON.parse(await readFile(path, 'utf8')) as ImageBundle;
    const files = Object.values(bundle.files);
    const complete = files.length > 0 && files.every((file) => Object.hasOwn(bundle.records, file));
    return complete && files.every((file) => !file.includes('/')) ? bundle : undefined;
  } catch {
    return undefined;
  }
}

async function writeManifest(directory: string, bundle: ImageBundle): Promise<void> {
  await writeFileAtomic(join(directory, MANIFEST), `${JSON.stringify(bundle, null, 2)}\n`, 0o600);
}
