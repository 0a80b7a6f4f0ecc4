import { describe, expect, test } from 'vitest';
import { assertCommandOptions, type CommandOptions } from '../../../ts/config/commands.js';

describe('the commands of a VM', () => {
  test.each<CommandOptions>([
    {},
    { env: { A: '', 'a.b-c': 'x=y\n', ä: 'ö' }, user: '1000:1000', cwd: '/', command: ['sh', '-c', ''] },
    { hostname: 'a' },
    { hostname: `A_1-b.example${'x'.repeat(51)}` },
  ])('takes %j', (options) => assertCommandOptions(options));

  test.each<[string, object, string]>([
    ['a name with =', { env: { 'A=B': 'c' } }, 'without = and NUL'],
    ['no name', { env: { '': 'c' } }, 'without = and NUL'],
    ['a name of the prototype', { env: JSON.parse('{"__proto__": "c"}') }, 'without = and NUL'],
    ['a value that is no text', { env: { A: 1 } }, 'env["A"] must be a string'],
    ['a value with NUL', { env: { A: '\0' } }, 'NUL'],
    [
      'more than the agent reads',
      { env: Object.fromEntries(Array.from({ length: 5 }, (_, i) => [i, 'x'.repeat(110_000)])) },
      'bytes',
    ],
    ['a directory that is not from the root on', { cwd: 'srv' }, 'cwd'],
    ['a hostname that Linux does not take', { hostname: 'x'.repeat(65) }, 'hostname'],
    ['a hostname that is none', { hostname: 'foo bar' }, 'hostname'],
    ['a hostname that ends in a hyphen', { hostname: 'a-' }, 'hostname'],
    ['an empty hostname', { hostname: '' }, 'hostname'],
    ['no user', { user: '' }, 'user must not be empty'],
    ['an empty command', { command: [] }, 'at least 1 element'],
    ['a command that is a line', { command: 'ls -l' }, 'must be an array'],
  ])('refuses %s', (_what, options, problem) => {
    expect(() => assertCommandOptions(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    expect(() => assertCommandOptions(options)).toThrow(problem);
  });
});
