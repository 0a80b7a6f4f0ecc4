import { chmod, link, lstat, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SnapshotOptions } from '../../../ts/config/updates.js';
import { withSnapshotOutput } from '../../../ts/vmm/snapshot-output.js';
import type { VmmProcess } from '../../../ts/vmm/vmm-process.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const UID = 1_899_999_999;
const FOLDER = /\/\.smartvm-[\w-]+$/;

let scratch: ScratchDirectory;
let options: SnapshotOptions;
let view: string[];

beforeEach(async () => {
  scratch = await scratchDirectory();
  options = { snapshotPath: scratch.file('state'), memFilePath: scratch.file('memory') };
  view = [];
});

afterEach(async () => {
  await scratch[Symbol.asyncDispose]();
});

/** The part of a VMM that says what it sees. */
function vmmOf(uid: number | undefined): VmmProcess {
  const vmm: Pick<VmmProcess, 'uid' | 'expose' | 'conceal'> = {
    uid,
    expose: async (paths) => void view.push(...paths.map(({ path, access }) => `${access} ${path}`)),
    conceal: async (path) => {
      view = view.filter((entry) => !entry.endsWith(` ${path}`));
    },
  };
  return vmm as VmmProcess;
}

const write = async ({ snapshotPath, memFilePath }: Pick<SnapshotOptions, 'snapshotPath' | 'memFilePath'>) => {
  await writeFile(memFilePath, 'new memory');
  await writeFile(snapshotPath, 'new state');
};
const contents = async () =>
  await Promise.all([options.snapshotPath, options.memFilePath].map((path) => readFile(path, 'utf8')));

/** The state that is left by a call which has failed, and the error. */
async function failureOf(output: Promise<void>): Promise<unknown> {
  const error = await output.then(
    () => undefined,
    (reason) => reason,
  );
  expect(view).toEqual([]);
  return error;
}

test('withSnapshotOutput lets a VMM that is not jailed write where it is told', async () => {
  await withSnapshotOutput(vmmOf(undefined), options, async (paths) => {
    expect(paths).toMatchObject(options);
    await write(paths);
  });
  expect(await contents()).toEqual(['new state', 'new memory']);
});

describe.skipIf(process.getuid?.() !== 0)('withSnapshotOutput of a jailed VMM (needs root)', () => {
  test('has it write into a folder of its own beside the places, and puts the files there, as root’s', async () => {
    await withSnapshotOutput(vmmOf(UID), options, async (paths) => {
      const folder = dirname(paths.snapshotPath);
      expect(folder).toMatch(FOLDER);
      expect(dirname(folder)).toBe(scratch.path);
      expect(dirname(paths.memFilePath)).toBe(folder);
      expect(view).toEqual([`write ${folder}`]);
      const { uid, mode } = await lstat(folder);
      expect([uid, mode & 0o777]).toEqual([UID, 0o700]);
      await write(paths);
    });
    expect(await contents()).toEqual(['new state', 'new memory']);
    expect(await readdir(scratch.path)).toHaveLength(2);
    expect((await lstat(options.memFilePath)).uid).toBe(0);
    expect(view).toEqual([]);
  });

  test('leaves the files of an earlier snapshot as they are when it fails', async () => {
    await Promise.all([writeFile(options.snapshotPath, 'old state'), writeFile(options.memFilePath, 'old memory')]);
    const failure = new Error('full');
    const fail = async ({ memFilePath }: { memFilePath: string }) => {
      await writeFile(memFilePath, 'half');
      throw failure;
    };
    expect(await failureOf(withSnapshotOutput(vmmOf(UID), options, fail))).toBe(failure);
    expect(await contents()).toEqual(['old state', 'old memory']);
    expect(await readdir(scratch.path)).toHaveLength(2);
  });

  test('takes no link for a file, nor leaves an older state beside newer memory', async () => {
    await Promise.all([writeFile(options.snapshotPath, 'old state'), writeFile(scratch.file('secret'), 'secret')]);
    const plant = async ({ snapshotPath, memFilePath }: { snapshotPath: string; memFilePath: string }) => {
      await writeFile(memFilePath, 'new memory');
      await symlink(scratch.file('secret'), snapshotPath);
    };
    expect(await failureOf(withSnapshotOutput(vmmOf(UID), options, plant))).toMatchObject({
      code: 'FILE_WRITE_FAILED',
      message: expect.stringContaining('left no file'),
    });
    expect((await readdir(scratch.path)).toSorted()).toEqual(['memory', 'secret']);
    expect((await lstat(scratch.file('secret'))).uid).toBe(0);
  });

  test('takes files from a folder that the VMM has opened to all, and keeps them for itself', async () => {
    await withSnapshotOutput(vmmOf(UID), options, async (paths) => {
      await chmod(dirname(paths.snapshotPath), 0o777);
      await write(paths);
      await chmod(paths.memFilePath, 0o4777);
    });
    expect((await lstat(options.memFilePath)).mode & 0o7777).toBe(0o600);
  });

  test('takes no file that has another name too', async () => {
    const plant = async (paths: Pick<SnapshotOptions, 'snapshotPath' | 'memFilePath'>) => {
      await write(paths);
      await link(paths.memFilePath, scratch.file('other'));
    };
    expect(await failureOf(withSnapshotOutput(vmmOf(UID), options, plant))).toMatchObject({
      code: 'FILE_WRITE_FAILED',
    });
  });

  test('writes into no folder that others may change', async () => {
    await chmod(scratch.path, 0o777);
    const output = withSnapshotOutput(vmmOf(UID), options, write);
    expect(await failureOf(output)).toMatchObject({ code: 'DIRECTORY_UNSAFE' });
    await chmod(scratch.path, 0o1777);
    await withSnapshotOutput(vmmOf(UID), options, write);
  });

  test('lets it write what has changed into the memory file of an earlier one, and takes that away again', async () => {
    await writeFile(options.memFilePath, 'old memory');
    const diff = { ...options, type: 'Diff' } as const;
    await withSnapshotOutput(vmmOf(UID), diff, async (paths) => {
      expect(paths.memFilePath).toBe(options.memFilePath);
      expect(view[0]).toBe(`write ${options.memFilePath}`);
      await write(paths);
    });
    expect(await contents()).toEqual(['new state', 'new memory']);
    expect(view).toEqual([]);
    const fail = () => Promise.reject(new Error('full'));
    expect(await failureOf(withSnapshotOutput(vmmOf(UID), diff, fail))).toMatchObject({ message: 'full' });
  });

  test('lets the VMM say that there is no directory', async () => {
    const nowhere = { snapshotPath: '/nowhere/state', memFilePath: scratch.file('memory') };
    await withSnapshotOutput(vmmOf(UID), nowhere, async (paths) => expect(paths).toMatchObject(nowhere));
    expect(await readdir(scratch.path)).toEqual([]);
  });
});
