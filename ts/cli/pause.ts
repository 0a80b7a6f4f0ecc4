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
      const [{ actOn }, { attachTo }] = await Promise.all([import('./vms/act.js'), import('./vms/attached.js')]);
      const act = async (vm: Parameters<typeof attachTo>[0]) => {
        await using attached = await attachTo(vm);
        await attached.pause();
      };
      exit(await actOn(references, act));
    });
}
