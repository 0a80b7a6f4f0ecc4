import { spawn } from 'node:child_process';
import { closeSync, constants, fstatSync, lstatSync, openSync, unlinkSync } from 'node:fs';
import { SmartVMError } from '../errors.js';
import { throwIfCanceled } from './deadline.js';
import { toolMissing } from './run.js';

/** An exclusive lock on a file, shared by every program on the host. */
export interface FileLock extends AsyncDisposable {
  release(): Promise<void>;
  /** Releases it, and removes its file: whoever waits for it makes another. */
  remove(): Promise<void>;
}

/** By these no link is followed, no FIFO is waited for, and no child inherits what is open. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Of flock(1), where somebody else has the lock. */
const EXIT_HELD = 1;

/**
 * Waits for an exclusive flock(2) on `path` (made when absent). The kernel releases it when this process dies, however it dies.
 * @throws SmartVMError CANCELED, TOOL_MISSING, TOOL_FAILED
 */
export async function lockFile(path: string, signal?: AbortSignal): Promise<FileLock> {
  return (await take(path, [], signal)) as FileLock; // without --nonblock it waits
}

/** As {@link lockFile}, without waiting. @returns undefined while somebody else has it */
export async function tryLockFile(path: string): Promise<FileLock | undefined> {
  return await take(path, ['--nonblock']);
}

async function take(path: string, flags: readonly string[], signal?: AbortSignal): Promise<FileLock | undefined> {
  for (;;) {
    throwIfCanceled(signal, `waiting for the lock ${path}`);
    const file = openLock(path);
    try {
      if (!(await flock(file, path, flags, signal))) {
        closeSync(file);
        return undefined;
      }
      if (isAt(file, path)) {
        return heldLock(file, path);
      }
    } catch (error) {
      closeSync(file);
      throw error;
    }
    closeSync(file); // who had it before us has removed it: others may have the file that is there by now
  }
}

function openLock(path: string): number {
  try {
    return openSync(path, OPEN_FLAGS, 0o600);
  } catch (cause) {
    throw notLocked(path, cause);
  }
}

/**
 * Node has no flock: flock(1) locks what we have open, which is locked as long as we have it open.
 * @returns whether it is locked
 */
async function flock(file: number, path: string, flags: readonly string[], signal?: AbortSignal): Promise<boolean> {
  // In a process group of its own, for Ctrl-C is not meant for it.
  const child = spawn('flock', ['--exclusive', ...flags, '3'], {
    stdio: ['ignore', 'ignore', 'ignore', file],
    detached: true,
  });
  const cancel = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.once('error', (cause) => reject(toolMissing(['flock'], cause)));
      child.once('exit', resolve);
    });
    throwIfCanceled(signal, `waiting for the lock ${path}`);
    if (exitCode !== 0 && !(exitCode === EXIT_HELD && flags.length > 0)) {
      throw notLocked(path);
    }
    return exitCode === 0;
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

function isAt(file: number, path: string): boolean {
  const [ours, there] = [fstatSync(file), lstatSync(path, { throwIfNoEntry: false })];
  return ours.dev === there?.dev && ours.ino === there.ino;
}

function heldLock(file: number, path: string): FileLock {
  let isHeld = true;
  const release = async () => {
    if (isHeld) {
      isHeld = false;
      closeSync(file);
    }
  };
  const remove = async () => {
    if (isHeld) {
      unlinkSync(path);
      await release();
    }
  };
  return { release, remove, [Symbol.asyncDispose]: release };
}

function notLocked(path: string, cause?: unknown): SmartVMError {
  return new SmartVMError('TOOL_FAILED', `flock could not lock ${path}: is the path writable?`, { cause });
}
