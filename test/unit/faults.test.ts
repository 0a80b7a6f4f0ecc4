import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';

const TESTS = join(PACKAGE_ROOT, 'test');

/** The rows of the table of faults: what, file, name. */
function faults(): string[][] {
  const [, table = ''] = readFileSync(join(TESTS, 'README.md'), 'utf8').split('## Faults');
  const rows = table.split('\n').filter((line) => line.startsWith('| '));
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

test('the table of faults names tests that are there', () => {
  const missing = faults().filter(([, file = '', name = '']) => {
    const source = readFileSync(join(TESTS, file), 'utf8');
    return name === '' || !source.includes(name);
  });
  expect(missing).toEqual([]);
  expect(faults().length).toBeGreaterThan(30);
});

test('no host program is run by a shell', () => {
  const names = readdirSync(join(PACKAGE_ROOT, 'ts'), { recursive: true, encoding: 'utf8' });
  const sources = names
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(PACKAGE_ROOT, 'ts', name), 'utf8'));
  const starting = sources.filter((source) => source.includes('child_process'));
  const imported = starting.flatMap(
    (source) => /import \{([^}]*)\} from 'node:child_process'/.exec(source)?.[1]?.split(',') ?? ['?'],
  );
  // Of Node's functions, that which takes an argument vector; and it takes none for a shell.
  expect([...new Set(imported.map((name) => name.trim()))].toSorted()).toEqual(['spawn', 'type ChildProcess']);
  expect(starting.filter((source) => /\bshell:/.test(source))).toEqual([]);
});
