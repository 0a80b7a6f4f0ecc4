import type { Command } from 'commander';

const HELP = `
The guest hears nothing of it. To send a signal to a process in the guest, run kill there by 'smartvm exec'.

Example:
  smartvm kill web`;

export function addKillCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('kill')
    .description('end VMs at once, and release all that they hold')
    .argument('<vm...>', 'ids, names, or beginnings of ids')
    .addHelpText('after', HELP)
    .action(async (references: string[]) => {
      const [{ actOn }, { kill }] = await Promise.all([import('./vms/act.js'), import('./vms/stop.js')]);
      exit(await actOn(references, kill));
    });
}
