import type { Command } from 'commander';
import { milliseconds, secondsOrNone } from './options.js';

const HELP = `
The guest is asked to end itself, then told by Ctrl-Alt-Del; then the VMM is ended, by SIGTERM and by SIGKILL. A VM that has been
stopped is gone, with all that it wrote: there is no start. What a VM that had ended by itself has left, 'smartvm rm' removes.

Example:
  smartvm stop --time 10 web`;

export function addStopCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('stop')
    .description('end VMs, and release all that they hold')
    .argument('<vm...>', 'ids, names, or beginnings of ids')
    .option(
      '-t, --time <seconds>',
      "how long each way of ending it is given; 0 goes to the last (default: 5, and 30 for an image's own init)",
      secondsOrNone,
    )
    .addHelpText('after', HELP)
    .action(async (references: string[], { time }: { time?: number }) => {
      const [{ actOn }, { stop }] = await Promise.all([import('./vms/act.js'), import('./vms/stop.js')]);
      const options = time === 0 ? { force: true } : { graceMs: milliseconds(time) };
      exit(await actOn(references, (vm, signal) => stop(vm, options, signal)));
    });
}
