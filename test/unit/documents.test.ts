import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DOCUMENTS } from '../../scripts/documents.js';

describe('a generated document', () => {
  test.each(Object.entries(DOCUMENTS))("docs/%s is what 'npm run docs' writes", (name, render) => {
    expect(readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')).toBe(render());
  });
});
