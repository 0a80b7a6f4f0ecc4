import { lstat, mkdir, readFile, readlink } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CpioEntry, cpioArchive, parentDirectories } from '../../../ts/images/cpio.js';
import { run } from '../../../ts/util/run.js';
import { scratchDirectory } from '../../support/scratch.js';

describe('cpioArchive', () => {
  it('is unpacked by cpio to what went in: contents, modes, links', async () => {
    await using scratch = await scratchDirectory();
    const archive = cpioArchive([
      { name: 'etc', type: 'directory', mode: 0o750 },
      { name: 'etc/secret', type: 'file', mode: 0o600, data: Buffer.from('k') },
      { name: 'init', type: 'file', mode: 0o755, data: Buffer.from('four') },
      { name: 'empty', type: 'file', mode: 0o644, data: Buffer.alloc(0) },
      { name: 'link', type: 'symlink', target: 'etc/secret' },
    ]);
    await run('cpio', ['--extract', '--quiet', '--no-preserve-owner'], { cwd: scratch.path, input: archive });
    expect(await readFile(scratch.file('init'), 'utf8')).toBe('four');
    expect(await readFile(scratch.file('link'), 'utf8')).toBe('k');
    expect(await readlink(scratch.file('link'))).toBe('etc/secret');
    expect((await lstat(scratch.file('empty'))).size).toBe(0);
    const modes = await Promise.all(['etc', 'etc/secret', 'init'].map((name) => lstat(scratch.file(name))));
    expect(modes.map(({ mode }) => mode & 0o777)).toEqual([0o750, 0o600, 0o755]);
  });

  it('lists device nodes with their numbers', async () => {
    const archive = cpioArchive([{ name: 'dev/console', type: 'character', mode: 0o600, major: 5, minor: 1 }]);
    const listing = await run('cpio', ['--list', '--verbose', '--numeric-uid-gid', '--quiet'], { input: archive });
    expect(listing.toString()).toMatch(/^crw-------\s+1 0\s+0\s+5,\s+1 .* dev\/console\n$/);
  });

  it('survives names and contents of any length: everything is padded to 4', async () => {
    const name = fc.stringMatching(/^[a-zäö]{1,40}$/);
    const members = fc.uniqueArray(fc.tuple(name, fc.uint8Array({ maxLength: 50 })), {
      selector: ([n]) => n,
      minLength: 1,
    });
    await fc.assert(
      fc.asyncProperty(members, async (files) => {
        await using scratch = await scratchDirectory();
        const entries = files.map(([n, data]): CpioEntry => ({ name: n, type: 'file', mode: 0o644, data }));
        const archive = cpioArchive(entries);
        expect(archive.length % 4).toBe(0);
        await mkdir(scratch.file('out'));
        await run('cpio', ['--extract', '--quiet', '--no-preserve-owner'], {
          cwd: scratch.file('out'),
          input: archive,
        });
        for (const [n, data] of files) {
          expect(Buffer.from(data).equals(await readFile(scratch.file('out', n)))).toBe(true);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('gives the same bytes for the same entries', () => {
    const entries: CpioEntry[] = [{ name: 'a', type: 'file', mode: 0o644, data: Buffer.from('x') }];
    expect(cpioArchive(entries).equals(cpioArchive(entries))).toBe(true);
  });
});

describe('parentDirectories', () => {
  it('names each folder once, parents first', () => {
    const names = parentDirectories(['a/b/c', 'a/b/d', 'e', 'a/f/g']).map(({ name }) => name);
    expect(names).toEqual(['a', 'a/b', 'a/f']);
  });
});
