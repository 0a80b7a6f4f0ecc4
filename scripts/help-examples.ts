import type { Command } from 'commander';

/** The command lines below `Example:` or `Examples:` at the end of a command's help. */
export function helpExamples(command: Command): string[] {
  let help = '';
  command.configureOutput({
    writeOut: (text) => {
      help += text;
    },
  });
  command.outputHelp();
  const examples = /\nExamples?:\n((?: {2}\S.*\n?)+)$/.exec(help)?.[1] ?? '';
  return examples
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}
