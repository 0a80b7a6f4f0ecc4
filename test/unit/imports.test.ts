import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { importsOf, importViolations } from '../support/import-rules.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAX_LINES = 300;
const GENERATED = 'ts/firecracker/generated.ts';

function typescriptFiles(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name}`);
}

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');

describe('the source tree', () => {
  const sources = typescriptFiles('ts');

  test('is there', () => {
    expect(sources).toContain('ts/errors.ts');
    expect(sources).toContain('ts/config/vm-config.ts');
  });

  test('imports in one direction', () => {
    expect(sources.flatMap((file) => importViolations(file.slice('ts/'.length), read(file)))).toEqual([]);
  });

  test(`has no file of ${MAX_LINES} lines or more`, () => {
    const files = ['ts', 'test', 'scripts', 'bench', 'examples'].flatMap(typescriptFiles);
    const long = files.filter((file) => file !== GENERATED && read(file).trimEnd().split('\n').length >= MAX_LINES);
    expect(long).toEqual([]);
  });
});

describe('the import rules', () => {
  test.each([
    ['config/a.ts', '../util/run.js'],
    ['config/validation/a.ts', '../../errors.js'],
    ['config/validation/a.ts', './b.js'],
    ['qemu/a.ts', '../firecracker/generated.js'],
    ['vm/a.ts', '../vmm/b.js'],
    ['smartvm.ts', './images/image-manager.js'],
    ['cli/run.ts', '../smartvm.js'],
    ['index.ts', './smartvm.js'],
    ['config/a.ts', 'node:fs'],
  ])('%s may import %s', (file, specifier) => {
    expect(importViolations(file, `import { x } from '${specifier}';`)).toEqual([]);
  });

  test.each([
    ['errors.ts', './util/run.js'],
    ['util/a.ts', '../config/b.js'],
    ['config/a.ts', '../firecracker/generated.js'],
    ['network/a.ts', '../firecracker/generated.js'],
    ['images/a.ts', '../network/b.js'],
    ['vmm/a.ts', '../vm/b.js'],
    ['vm/a.ts', '../images/b.js'],
    ['qemu/a.ts', '../firecracker/socket-client.js'],
    ['qemu/a.ts', '../config/vm-config.js'],
    ['smartvm.ts', './cli/run.js'],
    ['cli/run.ts', '../index.js'],
    ['vm/a.ts', '../index.js'],
    ['index.ts', './cli/run.js'],
    ['config/a.ts', './b'],
    ['config/a.ts', './b.ts'],
    ['config/a.ts', '../../scripts/build.js'],
    ['unheard-of/a.ts', '../errors.js'],
  ])('%s may not import %s', (file, specifier) => {
    expect(importViolations(file, `import { x } from '${specifier}';`)).toHaveLength(1);
  });

  test('see every form of import', () => {
    const source = `
      import a from './a.js';
      import type { B } from './b.js';
      import './c.js';
      export * from './d.js';
      export type { E } from './e.js';
      const f = await import('./f.js');
      type G = import('./g.js').G;
      // import './comment.js'
      const text = "import './text.js'";
    `;
    expect(importsOf(source).toSorted()).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => `./${name}.js`));
  });
});
