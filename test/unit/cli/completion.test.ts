import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Argument, Command, Option } from 'commander';
import { describe, expect, test } from 'vitest';
import { bashCompletion } from '../../../ts/cli/completion/bash.js';
import { fishCompletion } from '../../../ts/cli/completion/fish.js';
import { commandModel } from '../../../ts/cli/completion/model.js';
import { zshCompletion } from '../../../ts/cli/completion/zsh.js';
import { smartvmProgram } from '../../../ts/cli/program.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

type Complete = (script: string, line: string, directory: string) => string[];

const ZSH_HELPER = fileURLToPath(new URL('../../fixtures/zsh-complete.zsh', import.meta.url));

function output(program: string, args: string[], cwd: string): string {
  const env = { PATH: process.env.PATH, HOME: cwd, TERM: 'dumb', LC_ALL: 'C' };
  return execFileSync(program, args, {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 30_000,
  });
}

function isThere(shell: string): boolean {
  try {
    return output(shell, ['-c', 'exit'], '/') === '';
  } catch {
    return false;
  }
}

/** As readline splits a line: `=` is a word, and what is behind the last space is the word to complete. */
const readlineWords = (line: string) => line.split(/\s+|(=)/).filter((word, i, all) => word || i === all.length - 1);

/** What each shell offers at the end of a line, sorted. */
const SHELLS: Record<string, { render: typeof bashCompletion; complete: Complete }> = {
  bash: {
    render: bashCompletion,
    complete: (script, line, directory) => {
      const run = `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tool; printf "%s\\n" "\${COMPREPLY[@]}"`;
      return lines(output('bash', ['--norc', '-c', run, script, ...readlineWords(line)], directory));
    },
  },
  zsh: {
    render: zshCompletion,
    complete: (script, line, directory) =>
      [...output('zsh', ['-f', ZSH_HELPER, script, line], directory).matchAll(/HIT<(.*?)>/g)].map(
        ([, hit]) => hit ?? '',
      ),
  },
  fish: {
    render: fishCompletion,
    complete: (script, line, directory) => {
      const run = ['--no-config', '-c', 'source $argv[1]; complete -C $argv[2]', script, line];
      return lines(output('fish', run, directory)).map((text) => text.split('\t')[0] ?? '');
    },
  },
};

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** One of everything that commander has and completion knows. */
function everything(): Command {
  const tool = new Command('tool').description('does [all]: "that", and $HOME');
  tool
    .command('run')
    .description("boots, and doesn't stop")
    .argument('<command...>')
    .addOption(new Option('-c, --colour <name>', 'its colour: any').choices(['red', 'green']))
    .option('--file <path>', 'a file')
    .option('-v, --verbose', 'more [of it]');
  const image = tool.command('image').description('images');
  image.command('list').description('those there are').option('--all', 'all');
  image
    .command('remove')
    .description('some')
    .addArgument(new Argument('<name...>').choices(['debian', 'alpine']));
  tool.command('open').description('a file').argument('<kind>').argument('<file>');
  return tool;
}

async function scriptOf(scratch: ScratchDirectory, shell: keyof typeof SHELLS, program: Command): Promise<string> {
  const path = scratch.file(`script.${shell}`);
  await writeFile(path, SHELLS[shell]?.render(commandModel(program)) ?? '');
  return path;
}

describe.each(Object.entries(SHELLS))('completion in %s', (shell, { complete }) => {
  // Where a shell is not installed its tests are skipped: apt-get install zsh fish.
  const there = isThere(shell);

  test.skipIf(!there).each<[string, string[]]>([
    ['tool ', ['help', 'image', 'open', 'run']],
    ['tool r', ['run']],
    ['tool image ', ['help', 'list', 'remove']],
    ['tool image list --', ['--all', '--help']],
    ['tool image remove ', ['alpine', 'debian']],
    ['tool image remove debian a', ['alpine']],
    ['tool help ', ['help', 'image', 'open', 'run']],
    ['tool help im', ['image']],
    ['tool run --', ['--colour', '--file', '--help', '--verbose']],
    ['tool run --colour ', ['green', 'red']],
    ['tool run -c ', ['green', 'red']],
    ['tool run -v --colour g', ['green']],
    ['tool run --colour red --ver', ['--verbose']],
    ['tool run --file a', ['a-file']],
    ['tool open x a', ['a-file']],
    // What the guest is to run is not this shell's to know.
    ['tool run ls --', []],
    ['tool run ls --colour ', []],
    ['tool run -- ', []],
    ['tool run -- ls --', []],
    ['tool fly ', []],
  ])('%s', async (line, expected) => {
    await using scratch = await scratchDirectory();
    const script = await scriptOf(scratch, shell, everything());
    await mkdir(scratch.file('in'));
    await writeFile(scratch.file('in', 'a-file'), '');
    const offered = complete(script, line, scratch.file('in'));
    expect(offered.toSorted()).toEqual(expected);
  });

  test.skipIf(!there)('of a value behind =', async () => {
    await using scratch = await scratchDirectory();
    const script = await scriptOf(scratch, shell, everything());
    const offered = complete(script, 'tool run --colour=g', scratch.path);
    // fish gives the whole word.
    expect(offered.map((text) => text.replace('--colour=', ''))).toEqual(['green']);
  });
});

describe('the completion of smartvm', () => {
  const program = () => smartvmProgram('1.2.3', () => undefined);

  test.skipIf(!isThere('bash'))('is bound to its name', async () => {
    await using scratch = await scratchDirectory();
    const script = await scriptOf(scratch, 'bash', await program());
    const bound = output('bash', ['--norc', '-c', 'source "$0"; complete -p smartvm', script], scratch.path);
    expect(bound).toBe('complete -F _smartvm smartvm\n');
  });

  test.each(Object.entries(SHELLS).filter(([shell]) => isThere(shell)))('is sound %s', async (shell) => {
    await using scratch = await scratchDirectory();
    const script = await scriptOf(scratch, shell, await program());
    expect(output(shell, ['-n', script], scratch.path)).toBe('');
  });
});
