import type { Command } from 'commander';
import { FORMAT_HELP } from './vms/format.js';

export function addLayerCommand(program: Command, exit: (code: number) => void): void {
  const layer = program
    .command('layer')
    .description('list and remove what VMs have written and kept')
    .helpCommand(false)
    .addHelpText('after', '\nExample:\n  smartvm layer ls');
  layer
    .command('ls')
    .description('list the layers that are kept, with their sizes and the VMs that have them')
    .option('--format <format>', FORMAT_HELP)
    .option('-q, --quiet', 'print the names alone')
    .addHelpText('after', "\nExample:\n  smartvm layer ls --format '{{.Name}} {{.DiskUsage}}'")
    .action(async (options: { format?: string; quiet?: boolean }) =>
      exit(await (await import('./layers/actions.js')).listLayers(options)),
    );
  layer
    .command('rm')
    .description('remove layers that no VM has, with all that was written to them')
    .argument('<layer...>', 'names of layers')
    .addHelpText('after', '\nExample:\n  smartvm layer rm db')
    .action(async (names: string[]) => exit(await (await import('./layers/actions.js')).removeLayers(names)));
  for (const command of layer.commands) {
    command.showHelpAfterError(`See 'smartvm layer ${command.name()} --help'.`);
  }
}
