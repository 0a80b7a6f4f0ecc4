import type { Command } from 'commander';

const HELP = `
A paused guest does nothing and hears nothing; its memory stays taken, and limits of its life go on.

Example:
  smartvm pause web`;

export function addPauseCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('pause')
    .description('halt VMs where they are')
    .argument('<vm...>', 'ids, names, or beginnings of ids')
    .addHelpText('after', HELP)
    .action(async (references: string[]) => {
      const [{ actOn }, { attachedTo }] = await Promise.all([import('./vms/act.js'), import('./vms/attached.js')]);
      const pause = attachedTo((vm) => vm.pause());
      exit(await actOn(references, pause));
    });
}
