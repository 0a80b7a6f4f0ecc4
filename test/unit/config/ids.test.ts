import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  assertInterfaceName,
  assertVmId,
  isValidInterfaceName,
  isValidResourceId,
  isValidVmId,
} from '../../../ts/config/ids.js';

const VM_CHARS = [...'ABCZabcz0189-'];
const NOT_STRINGS = [undefined, null, 0, 1n, true, ['a'], { toString: () => 'a' }, Symbol('a')];

describe('VM ids', () => {
  test.each(['a', '0', 'test-vm-1', 'A-', 'a'.repeat(64)])('%j is one', (id) => {
    expect(isValidVmId(id)).toBe(true);
    expect(() => assertVmId(id)).not.toThrow();
  });

  test.each(['', '-rf', '../x', 'a b', 'a\n', '\na', 'a\0', ';x', 'a_b', 'é', 'a.b', 'a'.repeat(65), ...NOT_STRINGS])(
    '%o is none',
    (id) => {
      expect(isValidVmId(id)).toBe(false);
      expect(() => assertVmId(id)).toThrow(expect.objectContaining({ code: 'INVALID_ID' }));
    },
  );

  test('follow their rule for any string', () => {
    const nearIds = fc.string({ unit: fc.constantFrom(...VM_CHARS, '_', '/', '\n', 'é'), maxLength: 70 });
    fc.assert(
      fc.property(fc.oneof(nearIds, fc.string({ unit: 'binary' })), (id) => {
        const chars = [...id];
        const allowed = chars.every((char) => /[A-Za-z0-9-]/.test(char));
        expect(isValidVmId(id)).toBe(allowed && chars.length >= 1 && chars.length <= 64 && chars[0] !== '-');
      }),
    );
  });

  test('stand escaped and cut in messages', () => {
    expect(() => assertVmId('\x1b[2J\n')).toThrow(/^VM id "\\u001b\[2J\\n" must/);
    expect(() => assertVmId('é'.repeat(1e6))).toThrow(/^.{1,200}$/);
  });
});

describe('resource ids', () => {
  test.each(['a', '_', '0', 'rootfs_1', 'a'.repeat(64)])('%j is one', (id) => {
    expect(isValidResourceId(id)).toBe(true);
  });

  test.each(['', 'bad-id', 'a/b', 'a b', 'é', 'a\n', 'a'.repeat(65), ...NOT_STRINGS])('%o is none', (id) => {
    expect(isValidResourceId(id)).toBe(false);
  });
});

describe('interface names', () => {
  test.each(['a', 'tap0', 'svbr0', 'eth0.100', 'br-lan', '...', 'x'.repeat(15)])('%j is one', (name) => {
    expect(isValidInterfaceName(name)).toBe(true);
    expect(() => assertInterfaceName(name)).not.toThrow();
  });

  test.each([
    ...['', '.', '..', 'a/b', 'a:1', 'tap%d', '-a', 'bad bridge', 'a\tb', 'a\n', 'a\0', 'é', 'x'.repeat(16)],
    ...NOT_STRINGS,
  ])('%o is none', (name) => {
    expect(isValidInterfaceName(name)).toBe(false);
    expect(() => assertInterfaceName(name)).toThrow(expect.objectContaining({ code: 'INVALID_INTERFACE_NAME' }));
  });
});
