import type { Command } from 'commander';

const HELP = `
One side is of a VM that runs: VM:PATH, the other a path of the host; one with a colon begins with / or ./. Trees are copied whole, with
modes, times, links and holes. Into a directory that is there, the source is copied under its name, or only what is in it where it ends
in /. ; any other target is what the copy is called. Paths of the guest begin at its root. Devices, pipes and sockets are left out, as is what
goes or cannot be read meanwhile; each is told of.

Examples:
  smartvm cp ./site web:/srv
  smartvm cp web:/var/log/syslog .
  smartvm cp ./site/. web:/srv/site`;

export function addCpCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('cp')
    .description('copy files and trees between the host and a VM')
    .argument('<source>', 'a path, or VM:PATH')
    .argument('<target>', 'a path, or VM:PATH')
    .option('-p, --parents', 'make directories around the target that are missing')
    .addHelpText('after', HELP)
    .action(async (source: string, target: string, options: { parents?: boolean }) => {
      const { copy } = await import('./cp/copy.js'); // not for the help
      exit(await copy(source, target, options));
    });
}
