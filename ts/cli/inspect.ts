import type { Command } from 'commander';

export function addInspectCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('inspect')
    .description('print all that is known of VMs, as JSON')
    .argument('<vm...>', 'their ids, names, or beginnings of ids')
    .option(
      '-f, --format <format>',
      "'json' for a line each, or a template such as '{{.Config.MachineConfig.VcpuCount}}'",
    )
    .addHelpText('after', "\nExample:\n  smartvm inspect --format '{{.State}} {{.Paths.Console}}' web")
    .action(async (references: string[], { format }: { format?: string }) => exit(await inspect(references, format)));
}

async function inspect(references: readonly string[], format: string | undefined): Promise<number> {
  const [
    { printableJson },
    { forEach },
    { parseFormat, renderRows },
    { findVm },
    { inspectVm },
    { listVms },
    { printLines },
    { styleOf },
  ] = await Promise.all([
    import('./printable.js'),
    import('./vms/each.js'),
    import('./vms/format.js'),
    import('./vms/find.js'),
    import('./vms/inspection.js'),
    import('./vms/list.js'),
    import('./vms/output.js'),
    import('./vms/style.js'),
  ]);
  const rowFormat = parseFormat(format);
  const vms = listVms();
  const found: object[] = [];
  const exitCode = await forEach(references, async (reference) => {
    found.push(await inspectVm(findVm(vms, reference)));
  });
  const lines =
    rowFormat.kind === 'table' ? [printableJson(found, 2)] : renderRows(rowFormat, [], found, styleOf(process.stdout));
  return (await printLines(lines)) || exitCode;
}
