/** Keys that mean more than data to whoever copies an object field by field. */
const FORBIDDEN: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);
const MAX_DEPTH = 32;

/**
 * JSON of a file that somebody else may have written: refused where it is nested deeper than anything of ours, or has a key that
 * would reach a prototype. @throws Error
 */
export function parseSafeJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  assertSafe(value, 0);
  return value;
}

export function isSafeKey(key: string): boolean {
  return !FORBIDDEN.has(key);
}

function assertSafe(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) {
    return;
  }
  if (depth >= MAX_DEPTH) {
    throw new Error(`nested deeper than ${MAX_DEPTH}`);
  }
  for (const key of Object.keys(value)) {
    if (!isSafeKey(key)) {
      throw new Error(`has the key ${key}`);
    }
    assertSafe((value as Record<string, unknown>)[key], depth + 1);
  }
}
