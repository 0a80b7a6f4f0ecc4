import { writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { tailLines } from '../../../ts/vmm/tail.js';
import { scratchDirectory } from '../../support/scratch.js';

async function tailOf(text: string | Uint8Array, lines: number, maxBytes?: number): Promise<string[]> {
  await using scratch = await scratchDirectory();
  await writeFile(scratch.file('log'), text);
  return await tailLines(scratch.file('log'), lines, maxBytes);
}

describe('tailLines', () => {
  test.each<[string, string, number, string[]]>([
    ['the last lines', 'a\nb\nc\n', 2, ['b', 'c']],
    ['all there are', 'a\nb', 50, ['a', 'b']],
    ['lines without their carriage returns', 'a\r\nb\r\n', 2, ['a', 'b']],
    ['empty lines in between', 'a\n\nb\n\n', 3, ['a', '', 'b']],
    ['nothing of an empty file', '', 5, []],
    ['nothing of a blank one', '\n\n', 5, []],
    ['none', 'a\nb\n', 0, []],
  ])('%s', async (_what, text, lines, expected) => {
    expect(await tailOf(text, lines)).toEqual(expected);
  });

  test('an absent file has none', async () => {
    expect(await tailLines('/nonexistent/log', 5)).toEqual([]);
  });

  test('a large file is read from its end alone', async () => {
    expect(await tailOf(`${'x'.repeat(10_000_000)}\nlast\n`, 1)).toEqual(['last']);
    expect(await tailOf(`${'x'.repeat(1_000)}`, 5, 10)).toEqual(['x'.repeat(10)]);
  });

  test('any bytes give at most as many lines as asked for, and none with a line break', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 9 }), async (bytes, lines) => {
        const tail = await tailOf(bytes, lines, 64);
        expect(tail.length).toBeLessThanOrEqual(lines);
        expect(tail.filter((line) => /[\r\n]/.test(line))).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });
});
