import { chmod, chown, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ensurePrivateDirectory } from '../../../ts/util/private-directory.js';
import { scratchDirectory } from '../../support/scratch.js';

const modeOf = async (path: string) => ((await stat(path)).mode & 0o7777).toString(8);

describe('ensurePrivateDirectory', () => {
  let umask: number;
  beforeEach(() => {
    umask = process.umask();
  });
  afterEach(() => void process.umask(umask));

  test('makes it and its parents, all 0700, whatever the umask', async () => {
    await using scratch = await scratchDirectory();
    process.umask(0);
    await ensurePrivateDirectory(scratch.file('a', 'b'));
    expect(await modeOf(scratch.file('a'))).toBe('700');
    expect(await modeOf(scratch.file('a', 'b'))).toBe('700');
  });

  test('takes one that is there, with what is in it, and closes it to others', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('open'));
    await chmod(scratch.file('open'), 0o755);
    await writeFile(scratch.file('open', 'kept'), '');
    await ensurePrivateDirectory(scratch.file('open'));
    expect(await modeOf(scratch.file('open'))).toBe('700');
    expect(await readdir(scratch.file('open'))).toEqual(['kept']);
  });

  test.each(['', '/', '/.'])("refuses a link, also when the path ends in '%s'", async (end) => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('target'));
    await chmod(scratch.file('target'), 0o755);
    await symlink(scratch.file('target'), scratch.file('link'));
    await expect(ensurePrivateDirectory(scratch.file('link') + end)).rejects.toMatchObject({
      code: 'DIRECTORY_UNSAFE',
    });
    expect(await modeOf(scratch.file('target'))).toBe('755');
  });

  test('refuses a link to nowhere', async () => {
    await using scratch = await scratchDirectory();
    await symlink(scratch.file('nowhere'), scratch.file('link'));
    await expect(ensurePrivateDirectory(scratch.file('link'))).rejects.toMatchObject({ code: 'DIRECTORY_UNSAFE' });
    expect(await readdir(scratch.path)).toEqual(['link']);
  });

  test('refuses a file', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('file'), '');
    await expect(ensurePrivateDirectory(scratch.file('file'))).rejects.toMatchObject({ code: 'DIRECTORY_UNSAFE' });
  });

  test('says why where it can make none', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('file'), '');
    await expect(ensurePrivateDirectory(scratch.file('file', 'below'))).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
      cause: { code: 'ENOTDIR' },
    });
  });

  test.runIf(process.getuid?.() === 0)("refuses another user's", async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('theirs'), { mode: 0o755 });
    await chown(scratch.file('theirs'), 65_534, 65_534);
    await expect(ensurePrivateDirectory(scratch.file('theirs'))).rejects.toMatchObject({
      code: 'DIRECTORY_UNSAFE',
      message: expect.stringContaining('uid 65534'),
    });
    expect(await modeOf(scratch.file('theirs'))).toBe('755');
  });
});
