import { randomUUID } from 'node:crypto';
import { open, readdir, readFile, rename, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { MAX_LAYER_MIB, MIN_LAYER_MIB } from '../config/layers.js';
import { SmartVMError } from '../errors.js';
import { writeFileAtomic } from '../util/atomic-file.js';
import { lockFile } from '../util/file-lock.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { run } from '../util/run.js';
import { type Fingerprint, fingerprint, sameFingerprint, sealFile } from '../util/verified-file.js';
import { copyRanges, type DataRange, dataRanges } from './sparse-copy.js';

/** Raised with every change to {@link FORMATS}. */
const TEMPLATE_VERSION = 4;

/**
 * `passing`: no journal, for the layer lives as long as its VM. `kept`: a journal, so that it is sound after a VM that was killed, and
 * room to grow. In a file that has its size already mke2fs punches a hole first (its default), so inode tables count as zeroed and the
 * guest's ext4lazyinit does not fill the sparse file with them.
 */
const FORMATS = {
  passing: ['-O', '^has_journal,^resize_inode'],
  kept: ['-O', 'has_journal,resize_inode', '-J', 'size=4'],
} as const;
const FORMAT = ['-q', '-F', '-t', 'ext4', '-m', '0', '-E', 'root_owner=0:0'];

export type OverlayFormat = keyof typeof FORMATS;

/**
 * Makes the drive that takes a VM's writes: a sparse file (0600) with an empty ext4, copied from a cached template.
 * @param sizeMib 16 to 16,777,216 (16 TiB)
 * @throws SmartVMError INVALID_OPTION, FILE_WRITE_FAILED (also when the path exists), TOOL_MISSING, TOOL_FAILED
 */
export async function createOverlayDrive(
  cacheDir: string,
  path: string,
  sizeMib: number,
  format: OverlayFormat = 'passing',
): Promise<void> {
  await createEmpty(path);
  try {
    await fillOverlay(cacheDir, path, sizeMib, format);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/** Gives an empty file an empty ext4 of that size. @throws as {@link createOverlayDrive}, and a system error where it cannot be written */
export async function fillOverlay(
  cacheDir: string,
  path: string,
  sizeMib: number,
  format: OverlayFormat,
): Promise<void> {
  if (!Number.isInteger(sizeMib) || sizeMib < MIN_LAYER_MIB || sizeMib > MAX_LAYER_MIB) {
    throw new SmartVMError(
      'INVALID_OPTION',
      `a writable layer has ${MIN_LAYER_MIB} to ${MAX_LAYER_MIB} MiB, not ${sizeMib}`,
    );
  }
  const template = await cachedTemplate(join(cacheDir, 'overlay'), sizeMib, format);
  if (template.ranges) {
    await copyRanges(template.path, path, template.ranges);
  } else {
    await run('cp', ['--sparse=auto', '--reflink=auto', '--', template.path, path]);
  }
}

/** The file is made by us before anything fills it: with O_EXCL, so that a planted link is refused, and with its mode from the start. */
export async function createEmpty(path: string): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o600);
    await file.close();
  } catch (cause) {
    throw new SmartVMError('FILE_WRITE_FAILED', `cannot make ${path}: ${(cause as Error).message}`, { cause });
  }
}

interface Template {
  readonly path: string;
  /** Where its few blocks are; undefined where that is not known. */
  readonly ranges?: readonly DataRange[] | undefined;
}

/** What is kept beside a template. */
interface TemplateRecord extends Omit<Template, 'path'> {
  readonly fingerprint?: Fingerprint | undefined;
}

/** A template that has been touched since it was made is made again: that takes less time than reading it. */
async function cachedTemplate(directory: string, sizeMib: number, format: OverlayFormat): Promise<Template> {
  const path = join(directory, `${sizeMib}-mib-${format}-v${TEMPLATE_VERSION}.ext4`);
  const template = await untouched(path);
  if (template) {
    return template;
  }
  await ensurePrivateDirectory(directory);
  await using _lock = await lockFile(join(directory, 'lock'));
  return (await untouched(path)) ?? (await makeTemplate(directory, path, sizeMib, format));
}

async function untouched(path: string): Promise<Template | undefined> {
  const [now, record] = await Promise.all([fingerprint(path), readRecord(path)]);
  return sameFingerprint(now, record.fingerprint) ? { path, ranges: record.ranges } : undefined;
}

async function readRecord(template: string): Promise<TemplateRecord> {
  return await readFile(`${template}.json`, 'utf8').then(
    (text) => JSON.parse(text) as TemplateRecord,
    () => ({}),
  );
}

async function makeTemplate(
  directory: string,
  path: string,
  sizeMib: number,
  format: OverlayFormat,
): Promise<Template> {
  // Under the lock nobody else is writing here: temporary files are those of the dead.
  const leftovers = (await readdir(directory)).filter((name) => name.endsWith('.tmp'));
  await Promise.all(leftovers.map((name) => rm(join(directory, name))));
  const temporary = `${path}.${randomUUID()}.tmp`;
  const sparse = `${path}.${randomUUID()}.tmp`;
  try {
    await createEmpty(temporary);
    await truncate(temporary, sizeMib * 1024 * 1024);
    await run('mke2fs', [...FORMAT, ...FORMATS[format], temporary]);
    await run('cp', ['--sparse=always', '--', temporary, sparse]); // a journal is written as zeros
    await sealFile(sparse);
    await rename(sparse, path);
  } finally {
    await Promise.all([temporary, sparse].map((file) => rm(file, { force: true })));
  }
  const ranges = await dataRanges(path);
  const record: TemplateRecord = { fingerprint: await fingerprint(path), ranges };
  await writeFileAtomic(`${path}.json`, JSON.stringify(record));
  return { path, ranges };
}
