import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { helpExamples } from '../../../scripts/help-examples.js';
import { smartvmProgram } from '../../../ts/cli/program.js';

const exit = () => undefined;

/** The command and all below it, but commander's own `help`. */
function tree(command: Command): Command[] {
  return [command, ...command.commands.flatMap(tree)];
}

const commands = tree(await smartvmProgram('1.2.3', exit)).map((command) => ({ command, name: pathOf(command) }));

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

describe('the command line', () => {
  test('loads the one command that is asked for, and all where there is no such', async () => {
    const names = async (only?: string) => (await smartvmProgram('1.2.3', exit, only)).commands.map((c) => c.name());
    const all = await names();
    expect(all).toContain('run');
    expect(all).toEqual(all.toSorted());
    expect(await names('run')).toEqual(['run']);
    expect(await names('rnu')).toEqual(all);
    expect(await names('constructor')).toEqual(all);
  });

  test.each(commands)('$name says what it does', ({ command }) => {
    expect(command.description()).toMatch(/^\S.*[^.\s]$/);
    expect(command.options.filter(({ description }) => description === '')).toEqual([]);
    expect(command.registeredArguments.filter(({ description }) => description === '')).toEqual([]);
  });

  test.each(commands)('$name has an example', ({ command, name }) => {
    const examples = helpExamples(command);
    expect(examples.length).toBeGreaterThan(0);
    expect(examples.filter((line) => !line.includes(`${name} `))).toEqual([]);
  });
});
