import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ProgramStore, programPath } from '../../../ts/config/programs.js';
import { PACKAGE_ROOT } from '../../../ts/util/package-root.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');
const KEEPER = 'smartvm-keeper-x86_64';

/** A package with one program. Each store is what a new process would have. */
async function packageIn(scratch: ScratchDirectory, content = 'keeper 1') {
  await mkdir(scratch.file('bin'), { recursive: true });
  await writeFile(scratch.file('bin', KEEPER), content);
  await writeFile(scratch.file('bin', 'checksums.json'), JSON.stringify({ [KEEPER]: sha256(content) }));
}

function openStore(scratch: ScratchDirectory, recordsPath = scratch.file('data', 'programs.json')): ProgramStore {
  return new ProgramStore({ directory: scratch.file('bin'), recordsPath, remedy: 'Mend it.' });
}

const records = async (scratch: ScratchDirectory) =>
  JSON.parse(await readFile(scratch.file('data', 'programs.json'), 'utf8')) as Record<string, { sha256: string }>;

describe('a program of the package', () => {
  test('is given once its bytes have been found to be those that were built', async () => {
    await using scratch = await scratchDirectory();
    await packageIn(scratch);
    const path = scratch.file('bin', KEEPER);
    expect(await openStore(scratch).verified('keeper', 'x86_64')).toBe(path);
    expect(await records(scratch)).toEqual({ [path]: expect.objectContaining({ sha256: sha256('keeper 1') }) });
    expect((await stat(scratch.file('data'))).mode & 0o777).toBe(0o700);
  });

  test('is hashed by the next process only when it was touched', async () => {
    await using scratch = await scratchDirectory();
    await packageIn(scratch);
    await openStore(scratch).verified('keeper', 'x86_64');
    const written = async () => (await stat(scratch.file('data', 'programs.json'))).ino;
    const before = await written();
    await openStore(scratch).verified('keeper', 'x86_64');
    expect(await written()).toBe(before);
    await utimes(scratch.file('bin', KEEPER), 1, 1);
    await openStore(scratch).verified('keeper', 'x86_64');
    expect(await written()).not.toBe(before);
  });

  test.each([
    ['is damaged', 'keeper X', sha256('keeper X')],
    ['is cut short', 'keep', sha256('keep')],
    ['is empty', '', sha256('')],
  ])('that %s is refused with both sums and the remedy, also when it was whole before', async (_what, bytes, found) => {
    await using scratch = await scratchDirectory();
    await packageIn(scratch);
    const path = scratch.file('bin', KEEPER);
    await openStore(scratch).verified('keeper', 'x86_64');
    await writeFile(path, bytes);
    const expected = sha256('keeper 1');
    await expect(openStore(scratch).verified('keeper', 'x86_64')).rejects.toMatchObject({
      code: 'PACKAGE_DAMAGED',
      message: `${path} is damaged: its SHA-256 is ${found}, and ${expected} was expected. Mend it.`,
      details: { path, expected, found },
    });
  });

  test('of another build is refused, though nobody has touched it', async () => {
    await using scratch = await scratchDirectory();
    await packageIn(scratch);
    await openStore(scratch).verified('keeper', 'x86_64');
    await writeFile(scratch.file('bin', 'checksums.json'), JSON.stringify({ [KEEPER]: sha256('keeper 2') }));
    await expect(openStore(scratch).verified('keeper', 'x86_64')).rejects.toMatchObject({ code: 'PACKAGE_DAMAGED' });
  });

  test.each<[string, (scratch: ScratchDirectory) => Promise<void>, RegExp]>([
    ['is missing', ({ file }) => rm(file('bin', KEEPER)), /keeper-x86_64 is damaged: it is not there\. Mend it\.$/],
    ['has no sum', ({ file }) => writeFile(file('bin', 'checksums.json'), '{}'), /has no SHA-256 of it/],
    ['comes without sums', ({ file }) => rm(file('bin', 'checksums.json')), /checksums\.json is damaged: ENOENT/],
    ['comes with half the sums', ({ file }) => writeFile(file('bin', 'checksums.json'), '{'), /checksums\.json is dam/],
  ])('that %s is refused', async (_what, damage, message) => {
    await using scratch = await scratchDirectory();
    await packageIn(scratch);
    await damage(scratch);
    await expect(openStore(scratch).verified('keeper', 'x86_64')).rejects.toMatchObject({
      code: 'PACKAGE_DAMAGED',
      message: expect.stringMatching(message),
    });
  });

  test('that was mended is taken without a restart', async () => {
    await using scratch = await scratchDirectory();
    await packageIn(scratch);
    const store = openStore(scratch);
    await writeFile(scratch.file('bin', KEEPER), 'broken');
    await expect(store.verified('keeper', 'x86_64')).rejects.toMatchObject({ code: 'PACKAGE_DAMAGED' });
    await packageIn(scratch);
    expect(await store.verified('keeper', 'x86_64')).toBe(scratch.file('bin', KEEPER));
  });

  test('needs no records: where they are damaged or cannot be written, it is hashed', async () => {
    await using scratch = await scratchDirectory();
    await packageIn(scratch);
    await mkdir(scratch.file('data'));
    await writeFile(scratch.file('data', 'programs.json'), '{"half');
    expect(await openStore(scratch).verified('keeper', 'x86_64')).toBe(scratch.file('bin', KEEPER));
    const nowhere = openStore(scratch, scratch.file('bin', KEEPER, 'programs.json'));
    expect(await nowhere.verified('keeper', 'x86_64')).toBe(scratch.file('bin', KEEPER));
  });

  test('is remembered beside those of other packages, until they are gone', async () => {
    await using first = await scratchDirectory();
    await using second = await scratchDirectory();
    await Promise.all([packageIn(first), packageIn(second)]);
    const recordsPath = first.file('data', 'programs.json');
    const [one, two] = [first.file('bin', KEEPER), second.file('bin', KEEPER)];
    await openStore(second, recordsPath).verified('keeper', 'x86_64');
    await openStore(first).verified('keeper', 'x86_64');
    expect(Object.keys(await records(first))).toEqual([two, one]);
    await rm(two);
    await utimes(one, 1, 1);
    await openStore(first).verified('keeper', 'x86_64');
    expect(Object.keys(await records(first))).toEqual([one]);
  });
});

describe('this package', () => {
  test('has its programs, executable, with the sums of the build', async () => {
    await using scratch = await scratchDirectory();
    const directory = join(PACKAGE_ROOT, 'dist/bin');
    const store = new ProgramStore({ directory, recordsPath: scratch.file('data', 'programs.json'), remedy: '' });
    const sums = JSON.parse(readFileSync(join(directory, 'checksums.json'), 'utf8'));
    for (const program of ['agent', 'keeper'] as const) {
      for (const arch of ['x86_64', 'aarch64'] as const) {
        const path = programPath(program, arch);
        expect(await store.verified(program, arch)).toBe(path);
        expect(sums[`smartvm-${program}-${arch}`]).toBe(sha256(readFileSync(path)));
        expect((await stat(path)).mode & 0o111).toBe(0o111);
      }
    }
  });
});
