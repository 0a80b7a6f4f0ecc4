import { chmod, copyFile, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { initramfs } from '../../../ts/images/initramfs.js';
import { cachedInitramfs } from '../../../ts/images/initramfs-cache.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const MODULES = Buffer.from('MODULES!');

async function setUp(scratch: ScratchDirectory): Promise<(agent: string) => Promise<string>> {
  await writeFile(scratch.file('agent'), 'AGENT 1');
  await writeFile(scratch.file('modules'), MODULES);
  const parts = { modulesPath: scratch.file('modules'), modulesSha256: 'a'.repeat(64) };
  return (agent) => cachedInitramfs(scratch.file('cache'), { ...parts, agentPath: scratch.file(agent) });
}

describe('cachedInitramfs', () => {
  it('is made once, read-only, and used again', async () => {
    await using scratch = await scratchDirectory();
    const resolve = await setUp(scratch);
    const path = await resolve('agent');
    expect((await readFile(path)).equals(initramfs(Buffer.from('AGENT 1'), MODULES))).toBe(true);
    const { ino, mode } = await stat(path);
    expect(mode & 0o777).toBe(0o444);
    expect(await resolve('agent')).toBe(path);
    expect((await stat(path)).ino).toBe(ino);
  });

  it('follows the agent: another one is another file, the same one at another path is the same file', async () => {
    await using scratch = await scratchDirectory();
    const resolve = await setUp(scratch);
    const first = await resolve('agent');
    const { ino } = await stat(first);
    await copyFile(scratch.file('agent'), scratch.file('copy'));
    expect(await resolve('copy')).toBe(first);
    expect((await stat(first)).ino).toBe(ino);
    await writeFile(scratch.file('agent'), 'AGENT 2');
    const second = await resolve('agent');
    expect(second).not.toBe(first);
    expect((await readFile(second, 'latin1')).includes('AGENT 2')).toBe(true);
  });

  it('makes a damaged file again, and clears what a dead writer left', async () => {
    await using scratch = await scratchDirectory();
    const resolve = await setUp(scratch);
    const path = await resolve('agent');
    const bytes = await readFile(path);
    await writeFile(scratch.file('cache', 'x.tmp'), 'half');
    await chmod(path, 0o644);
    await writeFile(path, Buffer.from(bytes).fill(0, 10, 20));
    expect(await resolve('agent')).toBe(path);
    expect((await readFile(path)).equals(bytes)).toBe(true);
    expect((await readdir(scratch.file('cache'))).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('gives many callers at once one file', async () => {
    await using scratch = await scratchDirectory();
    const resolve = await setUp(scratch);
    const paths = await Promise.all(Array.from({ length: 6 }, () => resolve('agent')));
    expect(new Set(paths).size).toBe(1);
  });
});
