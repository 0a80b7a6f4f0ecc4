import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { SmartVMError } from '../errors.js';
import { throwIfCanceled } from './deadline.js';
import { toolMissing } from './run.js';

/** An exclusive lock on a file, shared by every program on the host. */
export interface FileLock extends AsyncDisposable {
  release(): Promise<void>;
}

/**
 * Waits for an exclusive flock(2) on `path` (made when absent). The kernel releases it when this process dies, however it dies.
 *
 * Node has no flock, so flock(1) holds it around a `cat` on our pipe: its echo says that the lock is held, the end of the pipe ends it.
 * @throws SmartVMError CANCELED, TOOL_MISSING, TOOL_FAILED
 */
export async function lockFile(path: string, signal?: AbortSignal): Promise<FileLock> {
  throwIfCanceled(signal, `waiting for the lock ${path}`);
  const holder = spawn('flock', ['--exclusive', path, 'cat'], { stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  const closed = new Promise<void>((resolve) => holder.once('close', () => resolve()));
  holder.stdin.on('error', () => undefined); // the exit says it
  const cancel = () => holder.kill('SIGKILL');
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    holder.stdin.write('held\n');
    const notStarted = once(holder, 'error').then(([cause]) => {
      throw toolMissing(['flock'], cause);
    });
    const held = await Promise.race([
      once(holder.stdout, 'data').then(() => true),
      closed.then(() => false),
      notStarted,
    ]);
    throwIfCanceled(signal, `waiting for the lock ${path}`);
    if (!held) {
      throw new SmartVMError('TOOL_FAILED', `flock could not lock ${path}: is the path writable?`);
    }
  } catch (error) {
    holder.stdin.end();
    throw error;
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
  const release = async () => {
    holder.stdin.end();
    await closed;
  };
  return { release, [Symbol.asyncDispose]: release };
}
