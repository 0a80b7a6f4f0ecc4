import { describe, expect, test } from 'vitest';
import { assertSocketPath, MAX_SOCKET_PATH_BYTES } from '../../../ts/util/socket-path.js';

describe('assertSocketPath', () => {
  test('takes 107 bytes', () => {
    expect(() => assertSocketPath('/'.padEnd(MAX_SOCKET_PATH_BYTES, 'x'))).not.toThrow();
  });

  test.each([
    ['108 characters of one byte', '/'.padEnd(108, 'x')],
    ['54 characters of two bytes', 'ü'.repeat(54)],
  ])('refuses %s', (_what, path) => {
    expect(() => assertSocketPath(path)).toThrow(
      expect.objectContaining({ code: 'SOCKET_PATH_TOO_LONG', details: { path, bytes: 108 } }),
    );
  });
});
