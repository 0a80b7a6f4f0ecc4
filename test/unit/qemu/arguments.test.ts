import { describe, expect, it } from 'vitest';
import { helpText, parseArguments } from '../../../ts/qemu/arguments.js';

describe('parseArguments', () => {
  it('knows what was given and the defaults of what was not', () => {
    const args = parseArguments(['--id', 'a', '--boot-timer', '--', '--nope']);
    expect([args.value('id'), args.value('api-sock'), args.value('level')]).toEqual([
      'a',
      '/run/firecracker.socket',
      undefined,
    ]);
    expect([args.flag('boot-timer'), args.flag('no-api')]).toEqual([true, false]);
  });

  it.each([
    [['--nope'], "Found argument 'nope' which wasn't expected, or isn't valid in this context."],
    [['nope'], "Found argument 'nope' which wasn't expected, or isn't valid in this context."],
    [['--api-sock'], "The argument 'api-sock' requires a value, but none was supplied."],
    [['--api-sock', '--id'], "The argument 'api-sock' requires a value, but none was supplied."],
    [['--id', 'a', '--id', 'b'], "The argument 'id' was provided more than once."],
    [['--no-api'], "Argument 'config-file' required, but not found."],
    [['--toString'], "Found argument 'toString' which wasn't expected, or isn't valid in this context."],
  ])('refuses %j', (argv, message) => {
    expect(() => parseArguments(argv)).toThrow(expect.objectContaining({ name: 'ArgumentError', message }));
  });

  it('puts help and version before every other check', () => {
    expect(parseArguments(['--nope', '-h']).flag('help')).toBe(true);
    expect(parseArguments(['--version', '--nope']).flag('version')).toBe(true);
    expect(helpText()).toContain('--api-sock <api-sock>');
  });
});
