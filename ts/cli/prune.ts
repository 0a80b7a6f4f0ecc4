import { type Command, Option } from 'commander';
import { collect } from './options.js';
import type { PruneCommandOptions } from './prune/prune.js';

const HELP = `
Dead VMs are those that have ended, and those whose programs and keepers were killed. Exited ones, which 'smartvm ps -a' lists, are
among them: their logs go, too. Each thing is proven to be such a VM's; what SmartVM did not make is never touched. On a terminal it
asks first; elsewhere it does not.

Examples:
  smartvm prune --dry-run
  smartvm prune --filter until=24h
  smartvm prune -f --format json`;

export function addPruneCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('prune')
    .description('remove all that dead VMs have left: processes, TAPs, sockets, cgroups, leases, directories')
    .option('-n, --dry-run', 'say what would be removed')
    .option('-f, --force', 'do not ask')
    .option('--filter <until=time>', 'keep exited VMs that ended later, such as until=24h for a day ago', collect)
    .addOption(new Option('--format <format>', 'how it is told').choices(['table', 'json']).default('table'))
    .addHelpText('after', HELP)
    .action(async (options: PruneCommandOptions) => {
      const { pruneCommand } = await import('./prune/prune.js'); // not for the help
      exit(await pruneCommand(options));
    });
}
