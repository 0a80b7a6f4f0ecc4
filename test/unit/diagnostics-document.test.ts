import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SOURCES } from '../../ts/cli/debug/sources.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';

test('docs/diagnostics.md lists every channel that there is, and its kind', () => {
  const files = readdirSync(join(PACKAGE_ROOT, 'ts'), { recursive: true, encoding: 'utf8' });
  const sources = files
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(PACKAGE_ROOT, 'ts', name), 'utf8'));
  const made = sources.flatMap((source) => [...source.matchAll(/\b(channel|tracingChannel)\('([^']+)'\)/g)]);
  const channels = made.map(([, kind, name]) => [name, kind === 'channel' ? 'plain' : 'tracing']);
  const rows = readFileSync(join(PACKAGE_ROOT, 'docs/diagnostics.md'), 'utf8').matchAll(
    /^\| `(smartvm:[^`]+)` \| (\w+) \|/gm,
  );
  expect(channels).toHaveLength(4);
  expect([...rows].map(([, name, kind]) => [name, kind])).toEqual(channels.toSorted());
});

test('docs/diagnostics.md says of each file of an archive what it is', () => {
  const document = readFileSync(join(PACKAGE_ROOT, 'docs/diagnostics.md'), 'utf8');
  const rows = SOURCES.map(({ name, about }) => `| \`${name}\` | ${about} |`);
  expect(document).toContain(`| --- | --- |\n${rows.join('\n')}\n\n`);
});
