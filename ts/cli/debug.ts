import type { Command } from 'commander';

interface DebugOptions {
  output?: string;
  force?: boolean;
}

export function addDebugCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('debug')
    .description('write all that is known of a VM into one archive, for a report of a fault')
    .argument('<vm>', 'its id, its name, or the beginning of its id')
    .option('-o, --output <file>', 'where to write it; - is standard output (default: smartvm-debug-<id>.tar.gz)')
    .option('-f, --force', 'replace a file that is there')
    .addHelpText('after', HELP)
    .action(async (vm: string, options: DebugOptions) => exit(await debug(vm, options)));
}

const HELP = `
The VM may run, hang, be starting or have ended; nothing of it is changed. What cannot be got is said in the archive's
report.json. Keys, metadata, environments and what looks like a secret are left out; what the guest printed on its
console is in it: look through it before you give it to others.

Example:
  smartvm debug web`;

/** Gives the exit code: 0 where there is an archive, whatever is missing in it. */
async function debug(reference: string, { output, force = false }: DebugOptions): Promise<number> {
  const [{ SmartVMError }, { listVms }, { subjectOf }, { collect }, { archiveOf, writeArchive }, { printable }] =
    await Promise.all([
      import('../errors.js'),
      import('./vms/list.js'),
      import('./debug/subject.js'),
      import('./debug/collect.js'),
      import('./debug/archive.js'),
      import('./printable.js'),
    ]);
  if (output === '-' && process.stdout.isTTY) {
    throw new SmartVMError('INVALID_OPTION', '--output - is for a pipe or a file: a terminal cannot show an archive');
  }
  const subject = await subjectOf(listVms(), reference);
  const collected = await collect(subject);
  const archive = await archiveOf(subject, reference, collected);
  const path = output ?? `smartvm-debug-${subject.id}.tar.gz`;
  for (const { name, failed } of collected.filter(({ failed }) => failed !== undefined)) {
    console.error(printable(`smartvm: not in the archive: ${name}: ${failed}`));
  }
  const { print } = await import('./vms/output.js');
  if (path === '-') {
    return await print(archive);
  }
  await writeArchive(path, archive, force);
  return await print(`${printable(path)}\n`);
}
