import { writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { describeExit, readExit, type VmmExit } from '../../../ts/vmm/exit.js';
import { scratchDirectory } from '../../support/scratch.js';

const EXIT: VmmExit = { exitCode: 0, signal: null, reason: 'exited', startedAt: null, exitedAt: null };

describe('describeExit', () => {
  test.each<[Partial<VmmExit>, string]>([
    [{ exitCode: 0 }, 'its guest shut down or reset'],
    [{ exitCode: 1 }, 'it exited with 1 (GenericError)'],
    [{ exitCode: 148 }, 'it exited with 148 (BadSyscall: a system call that seccomp forbids)'],
    [{ exitCode: 152 }, 'it exited with 152 (BadConfiguration)'],
    [{ exitCode: 153 }, 'it exited with 153 (ArgumentParsing)'],
    [{ exitCode: 77 }, 'it exited with 77'],
    [{ exitCode: null, signal: 'SIGKILL' }, 'it was killed by SIGKILL'],
    [{ exitCode: null, reason: 'keeper-lost' }, 'its keeper was killed, and the VMM with it'],
  ])('%o', (fields, words) => {
    expect(describeExit({ ...EXIT, ...fields })).toBe(words);
  });
});

describe('readExit', () => {
  test("reads the keeper's record", async () => {
    await using scratch = await scratchDirectory();
    const record = { ...EXIT, exitCode: 7, exitedAt: '2026-01-01T00:00:00.000Z' };
    await writeFile(scratch.file('exit.json'), JSON.stringify(record));
    expect(await readExit(scratch.path)).toEqual(record);
  });

  test.each([
    ['none', undefined],
    ['an empty one', ''],
    ['half of one', '{"exitCode":'],
  ])('%s means that the keeper was lost', async (_what, text) => {
    await using scratch = await scratchDirectory();
    if (text !== undefined) {
      await writeFile(scratch.file('exit.json'), text);
    }
    expect(await readExit(scratch.path)).toMatchObject({ reason: 'keeper-lost', exitCode: null, signal: null });
  });
});
