import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { renderErrorTable } from '../../scripts/error-table.js';
import { ERROR_CODES, isSmartVMError, SmartVMError } from '../../ts/errors.js';

const document = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');

describe('docs/errors.md', () => {
  test('has one row for each code, in order', () => {
    const rows = [...document.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code);
    expect(rows).toEqual(Object.keys(ERROR_CODES));
  });

  test("is what 'npm run docs' writes", () => {
    expect(document).toBe(renderErrorTable());
  });
});

describe('ERROR_CODES', () => {
  test('is sorted', () => {
    const codes = Object.keys(ERROR_CODES);
    expect(codes).toEqual(codes.toSorted((a, b) => a.localeCompare(b, 'en')));
  });

  test.each(Object.entries(ERROR_CODES))('%s is upper case and says something in whole sentences', (code, meaning) => {
    expect(code).toMatch(/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/);
    expect(meaning).toMatch(/^\S.*\.$/s);
    expect(meaning).not.toContain('\n');
  });
});

describe('SmartVMError', () => {
  test('carries code, message, cause and details', () => {
    const cause = new Error('underneath');
    const error = new SmartVMError('IP_EXHAUSTED', 'none left', { cause, details: { taken: 253 } });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'SmartVMError', code: 'IP_EXHAUSTED', message: 'none left', cause });
    expect(error.details).toEqual({ taken: 253 });
  });

  test('has no cause and empty details when none are given', () => {
    const error = new SmartVMError('CANCELED', 'canceled');
    expect(Object.hasOwn(error, 'cause')).toBe(false);
    expect(error.details).toEqual({});
  });

  test('isSmartVMError tells codes apart', () => {
    const error = new SmartVMError('CANCELED', 'canceled');
    expect(isSmartVMError(error)).toBe(true);
    expect(isSmartVMError(error, 'API_TIMEOUT', 'CANCELED')).toBe(true);
    expect(isSmartVMError(error, 'API_TIMEOUT')).toBe(false);
    expect(isSmartVMError(new Error('CANCELED'), 'CANCELED')).toBe(false);
    expect(isSmartVMError({ code: 'CANCELED' })).toBe(false);
  });
});
