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

/** Raised with every change to {@link FORMATS}. */
const TEMPLATE_VERSION = 3;

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
  const template = await overlayTemplate(cacheDir, sizeMib, format);
  await createEmpty(path);
  try {
    await run('cp', ['--sparse=auto', '--reflink=auto', '--', template, path]);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/** The path of an empty ext4 of that size, whose blocks are as few as can be. @throws as {@link createOverlayDrive} */
export async function overlayTemplate(cacheDir: string, sizeMib: number, format: OverlayFormat): Promise<string> {
  if (!Number.isInteger(sizeMib) || sizeMib < MIN_LAYER_MIB || sizeMib > MAX_LAYER_MIB) {
    throw new SmartVMError(
      'INVALID_OPTION',
      `a writable layer has ${MIN_LAYER_MIB} to ${MAX_LAYER_MIB} MiB, not ${sizeMib}`,
    );
  }
  return await cachedTemplate(join(cacheDir, 'overlay'), sizeMib, format);
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

/** A template that has been touched since it was made is made again: that takes less time than reading it. */
async function cachedTemplate(directory: string, sizeMib: number, format: OverlayFormat): Promise<string> {
  const path = join(directory, `${sizeMib}-mib-${format}-v${TEMPLATE_VERSION}.ext4`);
  if (await isUntouched(path)) {
    return path;
  }
  await ensurePrivateDirectory(directory);
  await using _lock = await lockFile(join(directory, 'lock'));
  if (!(await isUntouched(path))) {
    await makeTemplate(directory, path, sizeMib, format);
  }
  return path;
}

async function isUntouched(template: string): Promise<boolean> {
  const [now, recorded] = await Promise.all([fingerprint(template), readRecord(template)]);
  return sameFingerprint(now, recorded);
}

async function readRecord(template: string): Promise<Fingerprint | undefined> {
  return await readFile(`${template}.json`, 'utf8').then(
    (text) => JSON.parse(text) as Fingerprint,
    () => undefined,
  );
}

async function makeTemplate(directory: string, path: string, sizeMib: number, format: OverlayFormat): Promise<void> {
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
  await writeFileAtomic(`${path}.json`, JSON.stringify(await fingerprint(path)));
}
