import { open, truncate, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readExt4State } from '../../../../ts/images/layers/superblock.js';
import { run } from '../../../../ts/util/run.js';
import { makeExt4 } from '../../../support/boot-image.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

let scratch: ScratchDirectory;
let path: string;

beforeEach(async () => {
  scratch = await scratchDirectory();
  path = scratch.file('fs');
  await makeExt4(path, 64);
});

afterEach(() => scratch[Symbol.asyncDispose]());

async function overwrite(offset: number, bytes: string): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(Buffer.from(bytes, 'latin1'), 0, bytes.length, offset);
  await file.close();
}

describe('the superblock of a layer', () => {
  test('tells its size, and that nothing is wrong', async () => {
    expect(await readExt4State(path)).toEqual({ bytes: 64 * 1024 * 1024, damage: undefined });
    await truncate(path, 128 * 1024 * 1024);
    expect(await readExt4State(path)).toEqual({ bytes: 64 * 1024 * 1024, damage: undefined });
  });

  test('tells errors that a kernel has found', async () => {
    await run('debugfs', ['-w', '-R', 'set_super_value state 3', path]);
    expect((await readExt4State(path)).damage).toContain('has found errors');
  });

  test.each([
    ['no magic', 1024 + 0x38, 'XX', 'no ext4'],
    ['a byte that has changed', 1024 + 0x78, 'X', 'checksum'],
  ])('with %s is damaged', async (_what, offset, bytes, why) => {
    await overwrite(offset, bytes);
    expect((await readExt4State(path)).damage).toContain(why);
  });

  test.each([
    ['an empty file', 0, 'too short'],
    ['a file that was cut', 32 * 1024 * 1024, 'its file system has 67108864 bytes'],
  ])('of %s is damaged', async (_what, size, why) => {
    await truncate(path, size);
    expect((await readExt4State(path)).damage).toContain(why);
  });

  test('of zeros or noise is damaged, without an exception', async () => {
    for (const byte of [0, 0xff, 0x7f]) {
      await writeFile(path, Buffer.alloc(8192, byte));
      expect((await readExt4State(path)).damage).toBe('it has no ext4');
    }
  });
});
