import { Argument, type Command } from 'commander';
import { bashCompletion } from './completion/bash.js';
import { fishCompletion } from './completion/fish.js';
import { commandModel } from './completion/model.js';
import { zshCompletion } from './completion/zsh.js';
import { type Exit, smartvmProgram } from './program.js';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

const HELP = `
Examples:
  smartvm completion bash > /etc/bash_completion.d/smartvm
  source <(smartvm completion zsh)
  smartvm completion fish > ~/.config/fish/completions/smartvm.fish`;

export function addCompletionCommand(program: Command, exit: Exit): void {
  program
    .command('completion')
    .description('print a script that lets a shell complete the command line of smartvm')
    .addArgument(new Argument('<shell>', 'the shell that is to complete').choices(Object.keys(SHELLS)))
    .addHelpText('after', HELP)
    .action(async (shell: keyof typeof SHELLS) => {
      process.stdout.write(await completionScript(shell));
      exit(0);
    });
}

/** A completion script of every command, option and choice that there is. */
async function completionScript(shell: keyof typeof SHELLS): Promise<string> {
  const whole = await smartvmProgram('', () => undefined);
  return SHELLS[shell](commandModel(whole));
}
