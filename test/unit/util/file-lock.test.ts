import type { ChildProcess } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { mkdir, readdir, readlink, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { lockFile, tryLockFile } from '../../../ts/util/file-lock.js';
import { PACKAGE_ROOT } from '../../../ts/util/package-root.js';
import { evaluated, killed } from '../../support/evaluated.js';
import { until } from '../../support/leftovers.js';
import { scratchDirectory } from '../../support/scratch.js';

afterEach(() => void vi.unstubAllEnvs());

/** Another program that takes the lock, says so, and keeps it until it is killed. */
async function holderOf(path: string): Promise<ChildProcess> {
  const module = join(PACKAGE_ROOT, 'ts/util/file-lock.ts');
  const script = `import(${JSON.stringify(module)}).then(async ({ lockFile }) => {
    await lockFile(${JSON.stringify(path)});
    console.log('held');
    setInterval(() => undefined, 1000);
  })`;
  return await evaluated(script);
}

/** How many processes have the lock's file open, our own aside: flock(1) has it as its third. */
async function waiting(path: string): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const files = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/fd/3`).catch(() => '')));
  return files.filter((file) => file === path).length;
}

const waits = (path: string) => until(async () => (await waiting(path)) === 1, 5_000, 'our flock');
const filesOpen = async () => (await readdir('/proc/self/fd')).length;

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
    const before = await filesOpen();
    await Promise.all([work(), work(), work(), work()]);
    expect([await waiting(scratch.file('lock')), await filesOpen()]).toEqual([0, before]);
  });

  test('waits for another program, and gets the lock when that is killed', async () => {
    await using scratch = await scratchDirectory();
    const holder = await holderOf(scratch.file('lock'));
    let held = false;
    const locking = lockFile(scratch.file('lock')).then((lock) => {
      held = true;
      return lock;
    });
    try {
      await waits(scratch.file('lock'));
      expect(held).toBe(false);
    } finally {
      await killed(holder);
    }
    await using _lock = await locking;
    expect(held).toBe(true);
    expect(await waiting(scratch.file('lock'))).toBe(0);
  });

  test('release() can be called twice', async () => {
    await using scratch = await scratchDirectory();
    const lock = await lockFile(scratch.file('lock'));
    await lock.release();
    await lock.release();
    await lock.remove(); // it is another's by now
    expect(await readdir(scratch.path)).toEqual(['lock']);
  });

  test('a wait is canceled by its signal, and leaves nobody who would take the lock later', async () => {
    await using scratch = await scratchDirectory();
    const controller = new AbortController();
    {
      await using _lock = await lockFile(scratch.file('lock'));
      const locking = lockFile(scratch.file('lock'), controller.signal);
      await waits(scratch.file('lock'));
      controller.abort();
      await expect(locking).rejects.toMatchObject({ code: 'CANCELED' });
      expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    }
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
    const locking = lockFile(scratch.file('lock'), second.signal);
    await waits(scratch.file('lock'));
    second.abort();
    await expect(locking).rejects.toMatchObject({ code: 'CANCELED' });
  });

  test('whoever waits for one whose file is removed gets the one that is there then', async () => {
    await using scratch = await scratchDirectory();
    const path = scratch.file('lock');
    const first = await lockFile(path);
    const locking = lockFile(path);
    await waits(path);
    await first.remove();
    await using _second = await locking;
    expect(await readdir(scratch.path)).toEqual(['lock']);
    expect(await tryLockFile(path)).toBeUndefined();
  });

  test('without waiting: another has it, or it is ours', async () => {
    await using scratch = await scratchDirectory();
    const holder = await holderOf(scratch.file('lock'));
    expect(await tryLockFile(scratch.file('lock'))).toBeUndefined();
    await killed(holder);
    const lock = await tryLockFile(scratch.file('lock'));
    await lock?.remove();
    expect(await readdir(scratch.path)).toEqual([]);
    const before = await filesOpen();
    await expect(tryLockFile(scratch.file('absent', 'lock'))).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    expect(await filesOpen()).toBe(before);
  });

  test('a path that cannot be opened, a planted link too: TOOL_FAILED', async () => {
    await using scratch = await scratchDirectory();
    await symlink(scratch.file('other'), scratch.file('link'));
    for (const path of [scratch.file('absent', 'lock'), scratch.file('link')]) {
      await expect(lockFile(path)).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    }
    expect(await readdir(scratch.path)).toEqual(['link']);
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
