import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { copyRanges, dataRanges } from '../../../ts/images/sparse-copy.js';
import { sealFile } from '../../../ts/util/verified-file.js';
import { mountTmpfs } from '../../support/mounts.js';
import { scratchDirectory } from '../../support/scratch.js';

const MIB = 1024 * 1024;

/** A sparse file with that text at those offsets, brought to the disk. */
async function sparseFile(path: string, sizeMib: number, parts: readonly (readonly [number, string])[]) {
  await writeFile(path, '');
  await truncate(path, sizeMib * MIB);
  const file = await open(path, 'r+');
  for (const [offset, text] of parts) {
    await file.write(text, offset);
  }
  await file.close();
  await sealFile(path);
}

test('what is between holes is copied, and the holes are none the less holes', async () => {
  await using scratch = await scratchDirectory();
  const parts = [
    [0, 'first'],
    [3 * MIB - 2, 'over two blocks'],
    [16 * MIB - 4, 'last'],
  ] as const;
  await sparseFile(scratch.file('a'), 16, parts);
  const ranges = await dataRanges(scratch.file('a'));
  expect(ranges).toHaveLength(3);
  await writeFile(scratch.file('b'), '');
  await copyRanges(scratch.file('a'), scratch.file('b'), ranges ?? []);
  expect((await readFile(scratch.file('b'))).equals(await readFile(scratch.file('a')))).toBe(true);
  expect((await stat(scratch.file('b'))).blocks).toBe((await stat(scratch.file('a'))).blocks);
});

test('of much data, and of none, nothing is said', async () => {
  await using scratch = await scratchDirectory();
  await sparseFile(scratch.file('much'), 8, [[0, 'x'.repeat(5 * MIB)]]);
  await sparseFile(scratch.file('none'), 8, []);
  expect(await dataRanges(scratch.file('much'))).toBeUndefined();
  expect(await dataRanges(scratch.file('none'))).toBeUndefined();
});

test.runIf(process.getuid?.() === 0)('a file system in memory says nothing', async () => {
  await using scratch = await scratchDirectory();
  await using memory = await mountTmpfs(scratch.file('memory'), '4m');
  await sparseFile(`${memory.path}/a`, 2, [[0, 'text']]);
  expect(await dataRanges(`${memory.path}/a`)).toBeUndefined();
});
