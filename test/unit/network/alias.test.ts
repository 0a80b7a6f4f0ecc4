import { symlink } from 'node:fs/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { aliasOf } from '../../../ts/network/plumbing/alias.js';
import { scratchDirectory } from '../../support/scratch.js';

describe('the alias of an interface', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });
  const aliasWith = (directory: string) => {
    vi.stubEnv('SMARTVM_RUNTIME_DIR', directory);
    return aliasOf('sv1');
  };

  test('names the directory as people know it', () => {
    expect(aliasWith('/run/smartvm')).toBe('smartvm:sv1:/run/smartvm');
  });

  test('is one word, whatever the directory is called: ip takes # for a comment, and quotes and \\ for its own', () => {
    const word = aliasWith('/run/a #b\'"c\\\t\n%é').slice('smartvm:sv1:'.length);
    expect(word).toMatch(/^[\w/%.-]+$/);
    expect(decodeURIComponent(word)).toBe('/run/a #b\'"c\\\t\n%é');
  });

  test('is no longer than the kernel takes it, and another for each directory', () => {
    const aliases = ['a', 'b'].map((last) => aliasWith(`/${'é'.repeat(100)}/${last}`));
    expect(aliases.map((alias) => alias.length <= 255)).toEqual([true, true]);
    expect(aliases[0]).not.toBe(aliases[1]);
  });

  test('is the same by whatever link the directory is reached, before it is made too', async () => {
    await using scratch = await scratchDirectory();
    await symlink(scratch.path, scratch.file('link'));
    expect(aliasWith(scratch.file('link', 'run'))).toBe(aliasWith(scratch.file('run')));
    expect(aliasWith(scratch.file('link'))).toBe(aliasWith(scratch.path));
  });
});
