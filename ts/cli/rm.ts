import type { Command } from 'commander';

const HELP = `
It is all that a VM has left: its console, its record of how it ended, and whatever else was not released.

Examples:
  smartvm rm web
  smartvm rm -f web db`;

export function addRmCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('rm')
    .description('remove what VMs that have ended have left')
    .argument('<vm...>', 'ids, names, or beginnings of ids')
    .option('-f, --force', 'end those that live, at once')
    .addHelpText('after', HELP)
    .action(async (references: string[], { force = false }: { force?: boolean }) => {
      const [{ actOn }, { remove }] = await Promise.all([import('./vms/act.js'), import('./vms/remove.js')]);
      exit(await actOn(references, (vm, signal) => remove(vm, force, signal)));
    });
}
