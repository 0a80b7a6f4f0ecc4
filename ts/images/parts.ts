import { createHash } from 'node:crypto';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { lockFile, tryLockFile } from '../util/file-lock.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import type { LeftFile } from '../util/temporary-file.js';

/** A transfer's place in a folder of parts, which is its own until it is disposed. */
export interface HeldPart extends AsyncDisposable {
  readonly path: string;
}

const LOCK = '.lock';
/** A part, its note, what the note was being written to, its lock. */
const NAME = /^([0-9a-f]{64})(\.json(\..*\.tmp)?|\.lock)?$/;

/**
 * Where what comes of a URL is kept for the next transfer when this program is killed or the call is canceled. Waits for another
 * program that fetches it. @throws SmartVMError CANCELED, TOOL_MISSING, TOOL_FAILED, DIRECTORY_UNSAFE
 */
export async function holdPart(folder: string, url: string, signal?: AbortSignal): Promise<HeldPart> {
  await ensurePrivateDirectory(folder);
  const path = join(folder, createHash('sha256').update(url).digest('hex'));
  const lock = await lockFile(`${path}${LOCK}`, signal);
  return {
    path,
    async [Symbol.asyncDispose]() {
      const isLeft = await lstat(path).catch(() => undefined);
      await (isLeft ? lock.release() : lock.remove());
    },
  };
}

/** Removes the parts that no transfer goes on with now. @returns what was left, one for each transfer */
export async function sweepParts(folder: string, dryRun = false): Promise<LeftFile[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => NAME.test(name));
  const left: LeftFile[] = [];
  for (const stem of new Set(names.map((name) => name.replace(NAME, '$1')))) {
    const lock = await tryLockFile(join(folder, `${stem}${LOCK}`));
    if (lock) {
      const files = names.filter((name) => name.startsWith(stem) && !name.endsWith(LOCK));
      left.push(...(await remove(folder, stem, files, dryRun)));
      const isToStay = dryRun && names.includes(`${stem}${LOCK}`);
      await (isToStay ? lock.release() : lock.remove());
    }
  }
  return left;
}

async function remove(folder: string, stem: string, files: readonly string[], dryRun: boolean): Promise<LeftFile[]> {
  const paths = files.map((name) => join(folder, name));
  const stats = await Promise.all(paths.map((path) => lstat(path).catch(() => undefined))); // it may be through by now
  const sizeBytes = stats.reduce((sum, stat) => sum + (stat?.size ?? 0), 0);
  if (!dryRun) {
    await Promise.all(paths.map((path) => rm(path, { recursive: true, force: true })));
  }
  return stats.some(Boolean) ? [{ path: join(folder, stem), sizeBytes }] : [];
}
