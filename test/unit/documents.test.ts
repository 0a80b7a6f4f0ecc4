import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DOCUMENTS } from '../../scripts/documents.js';

describe('a generated document', () => {
  test.each(Object.entries(DOCUMENTS))("%s is what 'npm run docs' writes", async (name, render) => {
    expect(readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')).toBe(await render());
  });
});
