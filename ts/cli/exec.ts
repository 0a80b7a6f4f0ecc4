import type { Command } from 'commander';
import type { ExecOptions } from './exec/exec.js';
import { collect } from './options.js';

const HELP = `
Exit code: the command's own; 125 when smartvm failed; 126 and 127 when the command could not be executed or
found; 128 + the number of the signal that ended it. SIGINT, SIGTERM, SIGHUP and SIGQUIT go on to the command; the second ends it.

Examples:
  smartvm exec web uname -a
  smartvm exec -e LANG=C -w /srv -u nobody web sh -c 'echo $LANG; pwd; id'
  smartvm exec -it web top
  tar -c data | smartvm exec -i web tar -x -C /srv`;

export function addExecCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('exec')
    .description('run a command in a VM that runs')
    .argument('<vm>', 'id, name, or beginning of an id')
    .argument('<command...>', 'the command and its arguments')
    .option('-d, --detach', 'leave the command running; the end of what it prints is kept in the guest')
    .option('-e, --env <name=value>', 'variable for the command; a name alone takes its value from here', collect)
    .option('--env-file <file>', 'file with such variables, one a line', collect)
    .option('-i, --interactive', "pass standard input on to the command's")
    .option('--detach-keys <keys>', "with -it, keys that leave the command running; '' for none. Default: ctrl-],d")
    .option('-t, --tty', 'give the command a terminal')
    .option('-u, --user <user>', 'user for the command: a name, uid or uid:gid of the guest')
    .option('-w, --workdir <path>', 'directory in which it runs')
    .passThroughOptions()
    .addHelpText('after', HELP)
    .action(async (reference: string, words: string[], options: ExecOptions, command: Command) => {
      if (options.detach && (options.interactive || options.tty)) {
        command.error('error: --interactive and --tty are for a command that is waited for, not for --detach');
      }
      const { exec } = await import('./exec/exec.js'); // not for the help
      exit(await exec(reference, words, options));
    });
}
