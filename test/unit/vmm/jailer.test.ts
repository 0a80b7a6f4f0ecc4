import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { findJailer } from '../../../ts/vmm/jailer.js';
import { versionOfExecutable } from '../../../ts/vmm/version.js';
import { printer } from '../../support/fake-release.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

let scratch: ScratchDirectory;

beforeEach(async () => {
  scratch = await scratchDirectory();
  vi.stubEnv('PATH', `${scratch.file('path')}:/usr/bin:/bin`);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await scratch[Symbol.asyncDispose]();
});

async function program(path: string, version: string): Promise<string> {
  const at = scratch.file(path);
  await mkdir(dirname(at), { recursive: true });
  await writeFile(at, printer('Program', version), { mode: 0o755 });
  return at;
}

describe('findJailer', () => {
  test('takes the one of the same release, then the plain one, then that of PATH', async () => {
    const firecracker = await program('a/firecracker-v1.16.1-x86_64', '1.16.1');
    const onPath = await program('path/jailer', '1.16.1');
    expect(await findJailer(firecracker)).toEqual({ path: onPath, version: '1.16.1' });
    const plain = await program('a/jailer', '1.16.1');
    expect(await findJailer(firecracker)).toEqual({ path: plain, version: '1.16.1' });
    const same = await program('a/jailer-v1.16.1-x86_64', '1.16.1');
    expect(await findJailer(firecracker)).toEqual({ path: same, version: '1.16.1' });
  });

  test('passes over one of another version where there is a right one', async () => {
    const firecracker = await program('a/firecracker', '1.16.1');
    await program('a/jailer', '1.14.0');
    const right = await program('path/jailer', '1.16.1');
    expect(await findJailer(firecracker)).toMatchObject({ path: right });
  });

  test('looks where a link to Firecracker leads', async () => {
    const firecracker = await program('a/firecracker-v1.16.1-x86_64', '1.16.1');
    const jailer = await program('a/jailer-v1.16.1-x86_64', '1.16.1');
    await mkdir(scratch.file('links'));
    await symlink(firecracker, scratch.file('links', 'firecracker'));
    expect(await findJailer(scratch.file('links', 'firecracker'))).toMatchObject({ path: jailer });
  });

  test('there is none', async () => {
    const firecracker = await program('a/firecracker', '1.16.1');
    const missing = expect.objectContaining({
      code: 'JAILER_MISSING',
      message: expect.stringMatching(/smartvm install.*jail: false/),
    });
    await expect(findJailer(firecracker)).rejects.toEqual(missing);
    await expect(findJailer(firecracker, { jailerBinaryPath: scratch.file('absent') })).rejects.toEqual(missing);
    await chmod(await program('a/jailer', '1.16.1'), 0o644);
    await expect(findJailer(firecracker)).rejects.toEqual(missing);
  });

  test('there is only another', async () => {
    const firecracker = await program('a/firecracker', '1.16.1');
    const jailer = await program('a/jailer', '1.16.0');
    await expect(findJailer(firecracker)).rejects.toMatchObject({
      code: 'JAILER_MISMATCH',
      message: expect.stringMatching(/is version 1\.16\.1, but .*jailer is 1\.16\.0; run `smartvm install`/),
      details: { firecrackerVersion: '1.16.1', jailerPath: jailer, jailerVersion: '1.16.0' },
    });
    await expect(findJailer(firecracker, { jailerBinaryPath: jailer })).rejects.toMatchObject({
      code: 'JAILER_MISMATCH',
    });
  });

  test('two whose versions are unknown do not match', async () => {
    const firecracker = await program('a/firecracker', 'x');
    await program('a/jailer', 'x');
    await expect(findJailer(firecracker)).rejects.toMatchObject({ code: 'JAILER_MISMATCH' });
  });
});

describe('versionOfExecutable', () => {
  test('asks once, and again when the file has changed', async () => {
    const path = scratch.file('counting');
    const script = (version: string) => `#!/bin/sh\necho x >> ${scratch.file('calls')}\necho 'P v${version}'\n`;
    const { readFile } = await import('node:fs/promises');
    const calls = async () => (await readFile(scratch.file('calls'), 'utf8')).length / 2;
    await writeFile(path, script('1.2.3'), { mode: 0o755 });
    expect([await versionOfExecutable(path), await versionOfExecutable(path)]).toEqual(['1.2.3', '1.2.3']);
    expect(await calls()).toBe(1);
    await writeFile(path, script('1.2.4'));
    expect(await versionOfExecutable(path)).toBe('1.2.4');
    expect(await calls()).toBe(2);
  });
});

test.runIf(process.env.SMARTVM_FIRECRACKER !== undefined)('the jailer beside a real Firecracker', async () => {
  const firecracker = process.env.SMARTVM_FIRECRACKER ?? '';
  expect(await findJailer(firecracker)).toEqual({
    path: `${dirname(firecracker)}/jailer`,
    version: await versionOfExecutable(firecracker),
  });
});
