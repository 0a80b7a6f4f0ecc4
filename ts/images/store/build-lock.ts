import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FileLock, lockFile } from '../../util/file-lock.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import { parseSafeJson } from '../../util/safe-json.js';
import type { ImageProgress, ProgressListener } from '../image-types.js';

/** A wait shorter than this is not worth a line. */
const NOTICE_MS = 300;
/** How often who waits looks, and who builds writes down, how far it is. */
const SHARE_MS = 250;
const MAX_PROGRESS_BYTES = 64 << 10;

export interface BuildLock extends AsyncDisposable {
  /** Tells the builder's own listener, and the programs that wait. */
  readonly onProgress: ProgressListener;
}

export interface BuildLockOptions {
  /** What is being made, for the line that says that one waits. */
  readonly what: string;
  readonly onProgress: ProgressListener;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One program makes a thing while the others wait; they are told how far it is. When it is killed, the kernel gives the lock to the
 * next. @throws SmartVMError CANCELED, TOOL_MISSING, TOOL_FAILED, DIRECTORY_UNSAFE
 */
export async function lockBuild(folder: string, key: string, options: BuildLockOptions): Promise<BuildLock> {
  await ensurePrivateDirectory(folder);
  const progressFile = join(folder, `${key}.progress`);
  const lock = await waitTold(lockOfBuild(folder, key), progressFile, options);
  rmSync(progressFile, { force: true }); // of one that was killed
  const sharing = shareProgress(progressFile, options.onProgress);
  return {
    onProgress: sharing.onProgress,
    async [Symbol.asyncDispose]() {
      sharing.end();
      await lock.release();
    },
  };
}

/** The file that whoever makes the thing has locked. */
export function lockOfBuild(folder: string, key: string): string {
  return join(folder, `${key}.lock`);
}

async function waitTold(path: string, progressFile: string, options: BuildLockOptions): Promise<FileLock> {
  const { what, onProgress, signal } = options;
  let last = '';
  const look = () => {
    const text = readProgress(progressFile);
    if (text !== last) {
      last = text;
      const progress = parseProgress(text);
      if (progress) {
        onProgress({ ...progress, step: 'wait', message: `another program: ${progress.message}` });
      }
    }
  };
  let looking: NodeJS.Timeout | undefined;
  const notice = setTimeout(() => {
    onProgress({ step: 'wait', message: `waiting for another program that makes ${what}` });
    looking = setInterval(look, SHARE_MS);
  }, NOTICE_MS);
  return await lockFile(path, signal).finally(() => {
    clearTimeout(notice);
    clearInterval(looking);
  });
}

/** Written down at most every {@link SHARE_MS}: a transfer says it for every piece. */
function shareProgress(path: string, listener: ProgressListener): { onProgress: ProgressListener; end(): void } {
  let [written, writtenAt] = ['', 0];
  return {
    onProgress: (progress) => {
      listener(progress);
      if (progress.step !== written || performance.now() - writtenAt >= SHARE_MS) {
        [written, writtenAt] = [progress.step, performance.now()];
        try {
          writeFileSync(`${path}.tmp`, JSON.stringify(progress), { mode: 0o600 });
          renameSync(`${path}.tmp`, path);
        } catch {
          // A full disk is said by the build itself.
        }
      }
    },
    end: () => rmSync(path, { force: true }),
  };
}

function readProgress(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(0, MAX_PROGRESS_BYTES);
  } catch {
    return '';
  }
}

function parseProgress(text: string): ImageProgress | undefined {
  try {
    const progress = parseSafeJson(text) as Partial<ImageProgress>;
    return typeof progress.message === 'string' ? (progress as ImageProgress) : undefined;
  } catch {
    return undefined;
  }
}
