import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { run } from '../../../../ts/util/run.js';
import { assertStatic } from '../../../../ts/vmm/jail/static-executable.js';
import { scratchDirectory } from '../../../support/scratch.js';

describe('assertStatic', () => {
  test('refuses what wants a dynamic linker, with what to take', async () => {
    await expect(assertStatic(process.execPath)).rejects.toMatchObject({
      code: 'JAIL_FAILED',
      message: expect.stringMatching(/linked dynamically.*`smartvm install`.*`jail: false`/),
      details: { path: process.execPath },
    });
  });

  test.each([['-static'], ['-static-pie']])('takes what is linked %s', async (flag) => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('main.c'), 'int main(void) { return 0; }\n');
    await run('gcc', [flag, '-o', scratch.file('main'), scratch.file('main.c')]);
    await assertStatic(scratch.file('main'));
  });

  test('leaves it to the start to say what is wrong with anything else', async () => {
    await using scratch = await scratchDirectory();
    await assertStatic(scratch.file('absent'));
    await writeFile(scratch.file('script'), '#!/bin/sh\n');
    await assertStatic(scratch.file('script'));
    await copyFile(process.execPath, scratch.file('cut'));
    await writeFile(scratch.file('cut'), (await readFile(process.execPath)).subarray(0, 70));
    await assertStatic(scratch.file('cut'));
  });
});
