import { describe, expect, test } from 'vitest';
import { timeOf } from '../../../../ts/cli/vms/time.js';

const NOW = Date.parse('2026-02-03T04:05:06Z');

describe('a time', () => {
  test.each([
    ['0s', NOW],
    ['10m', NOW - 600_000],
    ['1h30m', NOW - 5_400_000],
    ['1.5d', NOW - 129_600_000],
    ['2026-01-31T12:00:00Z', Date.parse('2026-01-31T12:00:00Z')],
    ['1700000000.5', 1_700_000_000_500],
  ])('%s', (text, time) => {
    expect(timeOf('--since', text, NOW)).toBe(time);
  });

  test.each(['', 'soon', '5x', '2026-99-01', '-1m'])('%j is none', (text) => {
    expect(() => timeOf('--since', text, NOW)).toThrow(/^--since .* is no time/);
  });
});
