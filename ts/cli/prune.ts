import { type Command, Option } from 'commander';
import type { PruneCommandOptions } from './prune/prune.js';

const HELP = `
Dead VMs are those that have ended, and those whose programs and keepers were killed. Each thing is proven to be such a VM's; what
SmartVM did not make is never touched. On a terminal it asks first; elsewhere it does not.

Examples:
  smartvm prune --dry-run
  smartvm prune -f --format json`;

export function addPruneCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('prune')
    .description('remove all that dead VMs have left: processes, TAPs, sockets, cgroups, leases, directories')
    .option('-n, --dry-run', 'say what would be removed')
    .option('-f, --force', 'do not ask')
    .addOption(new Option('--format <format>', 'how it is told').choices(['table', 'json']).default('table'))
    .addHelpText('after', HELP)
    .action(async (options: PruneCommandOptions) => {
      const { pruneCommand } = await import('./prune/prune.js'); // not for the help
      exit(await pruneCommand(options));
    });
}
