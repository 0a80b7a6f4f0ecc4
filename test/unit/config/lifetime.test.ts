import { expect, test } from 'vitest';
import { assertLifetime, assertRemoval, type LifetimeOptions } from '../../../ts/config/lifetime.js';

const YEAR_MS = 366 * 24 * 3600 * 1000;

test.each<LifetimeOptions>([
  {},
  { timeoutMs: 1 },
  { timeoutMs: YEAR_MS, idleTimeoutMs: YEAR_MS, onTimeout: 'pause' },
  { timeoutMs: undefined, onTimeout: 'stop' },
])('%j is a lifetime', (options) => {
  expect(() => assertLifetime(options)).not.toThrow();
});

test.each([
  { timeoutMs: 0 },
  { timeoutMs: -1 },
  { timeoutMs: 1.5 },
  { timeoutMs: Number.NaN },
  { timeoutMs: YEAR_MS + 1 },
  { timeoutMs: '60' },
  { idleTimeoutMs: 0 },
  { idleTimeoutMs: null },
  { onTimeout: 'kill' },
] as unknown as LifetimeOptions[])('%j is none', (options) => {
  expect(() => assertLifetime(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});

test('only of a detached VM nothing is to be left by its keeper', () => {
  expect(() => assertRemoval(true, true)).not.toThrow();
  expect(() => assertRemoval(undefined, undefined)).not.toThrow();
  expect(() => assertRemoval(true, false)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  expect(() => assertRemoval('yes', true)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});
