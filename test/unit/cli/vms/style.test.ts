import { afterEach, describe, expect, test, vi } from 'vitest';
import { paint, styleOf } from '../../../../ts/cli/vms/style.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

function colors(isTTY: boolean, env: Readonly<Record<string, string>>): boolean {
  for (const name of ['NO_COLOR', 'FORCE_COLOR', 'TERM']) {
    vi.stubEnv(name, env[name]);
  }
  return styleOf({ isTTY, columns: 99 }).colors;
}

describe('colours', () => {
  test.each<[boolean, Record<string, string>, boolean]>([
    [true, {}, true],
    [false, {}, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [true, { TERM: 'dumb' }, false],
    [false, { FORCE_COLOR: '1' }, true],
    [false, { FORCE_COLOR: '1', NO_COLOR: '1' }, false],
    [true, { FORCE_COLOR: '0' }, false],
  ])('on a terminal: %s, with %j: %s', (isTTY, env, expected) => {
    expect(colors(isTTY, env)).toBe(expected);
  });

  test('are codes around the text', () => {
    expect(paint({ colors: true }, 31, 'no')).toBe('\u001b[31mno\u001b[0m');
    expect(paint({ colors: false }, 31, 'no')).toBe('no');
  });

  test('a line is as wide as the terminal, elsewhere without end', () => {
    expect(styleOf({ isTTY: true, columns: 99 }).columns).toBe(99);
    expect(styleOf({ isTTY: false, columns: 99 }).columns).toBe(Number.POSITIVE_INFINITY);
  });
});
