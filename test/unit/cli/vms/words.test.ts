import { describe, expect, test } from 'vitest';
import { bytesInWords, durationInWords } from '../../../../ts/cli/vms/words.js';

describe('in words', () => {
  test.each([
    [-5, 'less than a second'],
    [999, 'less than a second'],
    [1_000, '1 second'],
    [59_999, '59 seconds'],
    [60_000, '1 minute'],
    [5_400_000, '1 hour'],
    [36 * 3_600_000, '36 hours'],
    [3 * 86_400_000, '3 days'],
    [45 * 86_400_000, '6 weeks'],
    [800 * 86_400_000, '2 years'],
  ])('%d ms: %s', (ms, words) => {
    expect(durationInWords(ms)).toBe(words);
  });

  test.each([
    [0, '0B'],
    [1023, '1023B'],
    [1024, '1.00KiB'],
    [12.5 * 2 ** 20, '12.5MiB'],
    [256 * 2 ** 20, '256MiB'],
    [2 ** 62, '4096PiB'],
  ])('%d bytes: %s', (bytes, words) => {
    expect(bytesInWords(bytes)).toBe(words);
  });
});
