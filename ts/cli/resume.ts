import type { Command } from 'commander';

const HELP = `
Example:
  smartvm resume web`;

export function addResumeCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('resume')
    .alias('unpause')
    .description('let VMs that are paused go on')
    .argument('<vm...>', 'ids, names, or beginnings of ids')
    .addHelpText('after', HELP)
    .action(async (references: string[]) => {
      const [{ actOn }, { attachedTo }] = await Promise.all([import('./vms/act.js'), import('./vms/attached.js')]);
      const resume = attachedTo((vm) => vm.resume());
      exit(await actOn(references, resume));
    });
}
