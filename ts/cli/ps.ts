import type { Command } from 'commander';
import { FILTER_HELP } from './vms/filter.js';
import { FORMAT_HELP } from './vms/format.js';
import { type PsOptions, ps } from './vms/ps.js';

export function addPsCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('ps')
    .description('list the VMs, whatever program made them')
    .option('-a, --all', 'those too that are being started, and what is left of those that have ended')
    .option('-f, --filter <key=value>', `only those that match; keys: ${FILTER_HELP}`, collect)
    .option('--format <format>', FORMAT_HELP)
    .option('--no-trunc', 'cut nothing short')
    .option('-q, --quiet', 'print the ids alone')
    .addHelpText('after', "\nExample:\n  smartvm ps -a --filter label=tier=web --format '{{.ID}} {{.Status}}'")
    .action(async (options: PsOptions) => exit(await ps(options)));
}

export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
