import { type Command, InvalidArgumentError } from 'commander';
import { collect } from './options.js';
import type { ShellOptions } from './terminal/shell.js';

const HELP = `
Its exit code is the shell's. Ctrl-] and then d leave the shell, which goes on; --join comes back to it.

Examples:
  smartvm shell web
  smartvm shell -u nobody -w /srv web
  smartvm shell --join 412 web`;

export function addShellCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('shell')
    .description('open a login shell in a VM that runs, at this terminal')
    .argument('<vm>', 'its id, its name, or the beginning of its id')
    .option(
      '--detach-keys <keys>',
      "keys that leave the shell, such as 'ctrl-p,ctrl-q'; '' for none. Default: ctrl-],d",
    )
    .option('-e, --env <name=value>', 'variable for the shell; a name alone takes its value from here', collect)
    .option('--env-file <file>', 'file with such variables, one a line', collect)
    .option('--join <pid>', 'come back to a shell or command that was left', pid)
    .option('-u, --user <user>', 'whose shell: a name, uid or uid:gid of the guest')
    .option('-w, --workdir <path>', 'directory in which it begins')
    .addHelpText('after', HELP)
    .action(async (vm: string, options: ShellOptions) => {
      const { shell } = await import('./terminal/shell.js');
      exit(await shell(vm, options));
    });
}

function pid(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) {
    throw new InvalidArgumentError('It is the number of a process.');
  }
  return Number(text);
}
