import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { writeFileAtomic } from '../../../ts/util/atomic-file.js';
import { scratchDirectory } from '../../support/scratch.js';

const modeOf = async (path: string) => ((await stat(path)).mode & 0o7777).toString(8);

describe.each([
  ['on a disk', undefined],
  ['in memory', '/dev/shm'],
])('writeFileAtomic %s', (_where, folder) => {
  let umask: number;
  beforeEach(() => {
    umask = process.umask();
    if (folder !== undefined) {
      vi.stubEnv('TMPDIR', folder);
    }
  });
  afterEach(() => {
    process.umask(umask);
    vi.unstubAllEnvs();
  });

  test('makes a file, and replaces one', async () => {
    await using scratch = await scratchDirectory();
    const path = scratch.file('record.json');
    await writeFileAtomic(path, 'old and long');
    await writeFileAtomic(path, Buffer.from('new'));
    expect(await readFile(path, 'utf8')).toBe('new');
    expect(await readdir(scratch.path)).toEqual(['record.json']);
  });

  test.each([
    [0o000, undefined, '600'],
    [0o777, undefined, '600'],
    [0o077, 0o644, '644'],
  ])('under umask %o with mode %o makes a file of mode %s', async (mask, mode, expected) => {
    await using scratch = await scratchDirectory();
    process.umask(mask);
    await writeFileAtomic(scratch.file('secret'), 'x', mode);
    expect(await modeOf(scratch.file('secret'))).toBe(expected);
  });

  test('replaces a link instead of writing through it', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('victim'), 'untouched');
    await symlink(scratch.file('victim'), scratch.file('record'));
    await writeFileAtomic(scratch.file('record'), 'mine');
    expect(await readFile(scratch.file('victim'), 'utf8')).toBe('untouched');
    expect(await readFile(scratch.file('record'), 'utf8')).toBe('mine');
  });

  test('a failure leaves the path as it was and no temporary file', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('taken', 'by-a-directory'), { recursive: true });
    await expect(writeFileAtomic(scratch.file('taken'), 'x')).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
      message: expect.stringContaining(scratch.file('taken')),
      cause: { code: expect.stringMatching(/EISDIR|ENOTEMPTY|EEXIST/) },
    });
    expect(await readdir(scratch.path)).toEqual(['taken']);
    expect(await readdir(scratch.file('taken'))).toEqual(['by-a-directory']);
  });

  test('a missing directory is FILE_WRITE_FAILED', async () => {
    await using scratch = await scratchDirectory();
    await expect(writeFileAtomic(scratch.file('absent', 'x'), 'x')).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
      cause: { code: 'ENOENT' },
    });
    expect(await readdir(scratch.path)).toEqual([]);
  });

  test('a reader sees the old content or the new, never a part', async () => {
    await using scratch = await scratchDirectory();
    const path = scratch.file('record');
    const versions = ['a', 'b'].map((letter) => letter.repeat(100_000));
    await writeFileAtomic(path, versions[0] ?? '');
    let writing = true;
    const seen = new Set<string>();
    const reader = (async () => {
      while (writing) {
        seen.add(await readFile(path, 'utf8'));
      }
    })();
    for (let round = 0; round < 20; round++) {
      await writeFileAtomic(path, versions[round % 2] ?? '');
    }
    writing = false;
    await reader;
    expect([...seen].filter((text) => !versions.includes(text))).toEqual([]);
  });
});
