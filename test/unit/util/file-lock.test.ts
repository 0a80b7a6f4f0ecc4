import { type ChildProcess, spawn } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { lockFile } from '../../../ts/util/file-lock.js';
import { PACKAGE_ROOT } from '../../../ts/util/package-root.js';
import { processesNaming, until } from '../../support/leftovers.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

afterEach(() => void vi.unstubAllEnvs());

/** Another program that takes the lock, says so, and keeps it until it is killed. */
async function holderOf(path: string): Promise<ChildProcess> {
  const module = join(PACKAGE_ROOT, 'ts/util/file-lock.ts');
  const script = `import(${JSON.stringify(module)}).then(async ({ lockFile }) => {
    await lockFile(${JSON.stringify(path)});
    console.log('held');
    setInterval(() => undefined, 1000);
  })`;
  const holder = spawn(process.execPath, ['--import', 'tsx', '--eval', script], {
    cwd: PACKAGE_ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout as NodeJS.ReadableStream, 'data');
  return holder;
}

async function kill(child: ChildProcess): Promise<void> {
  const closed = once(child, 'exit');
  child.kill('SIGKILL');
  await closed;
}

const nobodyLeft = (scratch: ScratchDirectory) =>
  until(async () => (await processesNaming(scratch.path)).length === 0, 5_000, 'the end of flock');

describe('lockFile', () => {
  test('is held by one at a time, in one program too', async () => {
    await using scratch = await scratchDirectory();
    let holders = 0;
    const work = async () => {
      await using _lock = await lockFile(scratch.file('lock'));
      expect(++holders).toBe(1);
      await new Promise(setImmediate);
      holders--;
    };
    await Promise.all([work(), work(), work(), work()]);
    expect(await processesNaming(scratch.path)).toEqual([]);
  });

  test('waits for another program, and gets the lock when that is killed', async () => {
    await using scratch = await scratchDirectory();
    const holder = await holderOf(scratch.file('lock'));
    let held = false;
    const waiting = lockFile(scratch.file('lock')).then((lock) => {
      held = true;
      return lock;
    });
    try {
      // Its flock(1) and ours: ours is there, and has had no word.
      await until(async () => (await processesNaming(scratch.file('lock'))).length >= 3, 5_000, 'our flock');
      expect(held).toBe(false);
    } finally {
      await kill(holder);
    }
    await using _lock = await waiting;
    expect(held).toBe(true);
  });

  test('release() can be called twice', async () => {
    await using scratch = await scratchDirectory();
    const lock = await lockFile(scratch.file('lock'));
    await lock.release();
    await lock.release();
    await nobodyLeft(scratch);
  });

  test('a wait is canceled by its signal, and leaves nobody who would take the lock later', async () => {
    await using scratch = await scratchDirectory();
    const controller = new AbortController();
    {
      await using _lock = await lockFile(scratch.file('lock'));
      const waiting = lockFile(scratch.file('lock'), controller.signal);
      await until(async () => (await processesNaming(scratch.path)).length === 2, 5_000, 'the second flock');
      controller.abort();
      await expect(waiting).rejects.toMatchObject({ code: 'CANCELED' });
      expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    }
    await nobodyLeft(scratch);
    await using _again = await lockFile(scratch.file('lock'));
  });

  test('a signal that had aborted: CANCELED', async () => {
    await using scratch = await scratchDirectory();
    const result = lockFile(scratch.file('lock'), AbortSignal.abort());
    await expect(result).rejects.toMatchObject({ code: 'CANCELED' });
  });

  test('a lock that is held does not mind its signal any more', async () => {
    await using scratch = await scratchDirectory();
    const controller = new AbortController();
    await using _lock = await lockFile(scratch.file('lock'), controller.signal);
    controller.abort();
    const second = new AbortController();
    const waiting = lockFile(scratch.file('lock'), second.signal);
    await until(async () => (await processesNaming(scratch.path)).length === 2, 5_000, 'the second flock');
    second.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELED' });
  });

  test('a path that cannot be opened: TOOL_FAILED', async () => {
    await using scratch = await scratchDirectory();
    await expect(lockFile(scratch.file('absent', 'lock'))).rejects.toMatchObject({ code: 'TOOL_FAILED' });
  });

  test('no flock: TOOL_MISSING with the command that installs it', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('empty'));
    vi.stubEnv('PATH', scratch.file('empty'));
    await expect(lockFile(scratch.file('lock'))).rejects.toMatchObject({
      code: 'TOOL_MISSING',
      message: expect.stringContaining('util-linux'),
    });
  });
});
