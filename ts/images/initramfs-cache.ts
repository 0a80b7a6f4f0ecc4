import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile, realpath, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { writeFileAtomic } from '../util/atomic-file.js';
import { lockFile } from '../util/file-lock.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import {
  type FileRecord,
  type Fingerprint,
  fingerprint,
  recordFile,
  sameFingerprint,
  verifyFile,
  writeReadOnly,
} from '../util/verified-file.js';
import { INITRAMFS_VERSION, initramfs } from './initramfs.js';

/** What was made for an agent's path and a kernel's modules: used again while neither has changed. */
interface IndexEntry {
  readonly agent: Fingerprint;
  readonly file: string;
  readonly record: FileRecord;
}

export interface InitramfsParts {
  readonly agentPath: string;
  readonly modulesPath: string;
  readonly modulesSha256: string;
}

/**
 * The initramfs for an agent and a kernel, from the cache by content or made now.
 * @throws SmartVMError IMAGE_BUILD_FAILED when there is no agent, CANCELED
 */
export async function cachedInitramfs(directory: string, parts: InitramfsParts, signal?: AbortSignal): Promise<string> {
  const agentPath = await realpath(parts.agentPath).catch(() => parts.agentPath);
  const agent = await fingerprint(agentPath);
  if (!agent) {
    throw new SmartVMError(
      'IMAGE_BUILD_FAILED',
      `the guest agent is not at ${parts.agentPath}; build it with: npm run build (or set agentPath)`,
    );
  }
  const index = join(directory, `${hash(agentPath, parts.modulesSha256, INITRAMFS_VERSION)}.json`);
  const cached = await lookUp(directory, index, agent);
  if (cached) {
    return cached;
  }
  await ensurePrivateDirectory(directory);
  await using _lock = await lockFile(join(directory, 'lock'), signal);
  return (await lookUp(directory, index, agent)) ?? (await make(directory, index, { ...parts, agentPath }));
}

async function lookUp(directory: string, index: string, agent: Fingerprint): Promise<string | undefined> {
  const entry = await readFile(index, 'utf8').then(
    (text) => JSON.parse(text) as IndexEntry,
    () => undefined,
  );
  if (!entry || !/^[0-9a-f]{64}\.cpio$/.test(entry.file) || !sameFingerprint(entry.agent, agent)) {
    return undefined;
  }
  const path = join(directory, entry.file);
  return (await verifyFile(path, entry.record)) === 'trusted' ? path : undefined;
}

async function make(directory: string, index: string, parts: InitramfsParts): Promise<string> {
  await removeLeftovers(directory);
  // Before the read: an agent that is replaced meanwhile is noticed by the next look-up.
  const agent = await fingerprint(parts.agentPath);
  const binary = await readFile(parts.agentPath);
  const file = `${hash(createHash('sha256').update(binary).digest('hex'), parts.modulesSha256, INITRAMFS_VERSION)}.cpio`;
  const path = join(directory, file);
  await ensureContent(path, initramfs(binary, await readFile(parts.modulesPath)));
  await writeFileAtomic(index, JSON.stringify({ agent, file, record: await recordFile(path) }));
  return path;
}

/** A file that has these bytes already stays: another agent's path may have made it, and its fingerprint is noted there. */
async function ensureContent(path: string, data: Buffer): Promise<void> {
  const present = await recordFile(path).catch(() => undefined);
  if (present?.sha256 === createHash('sha256').update(data).digest('hex')) {
    return;
  }
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeReadOnly(temporary, data);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Under the lock nobody else is writing here: temporary files are those of the dead. */
async function removeLeftovers(directory: string): Promise<void> {
  const names = await readdir(directory);
  await Promise.all(names.filter((name) => name.endsWith('.tmp')).map((name) => rm(join(directory, name))));
}

function hash(...parts: readonly (string | number)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
