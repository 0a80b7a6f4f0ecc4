import type { Command } from 'commander';

export function addWaitCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('wait')
    .description('wait until VMs have ended, and print the exit code of each')
    .argument('<vm...>', 'their ids, names, or beginnings of ids')
    .addHelpText(
      'after',
      '\nIt is that of the command that a VM was run for; else 0 where the guest has shut down; 128 + its number where a signal ended the VMM.',
    )
    .addHelpText('after', '\nExample:\n  smartvm wait web db')
    .action(async (references: string[]) => exit(await wait(references)));
}

async function wait(references: readonly string[]): Promise<number> {
  const [{ watchInterrupts }, { forEach }, { waitForExit }, { findVm }, { listVms }, { printLines }, { exitCodeOf }] =
    await Promise.all([
      import('./interrupt.js'),
      import('./vms/each.js'),
      import('./vms/exit.js'),
      import('./vms/find.js'),
      import('./vms/list.js'),
      import('./vms/output.js'),
      import('./vms/ps-row.js'),
    ]);
  using interrupt = watchInterrupts();
  const list = listVms();
  // For all at once: what is left of one that ends first may be gone when its turn comes.
  const ends = references.map(async (reference) => await waitForExit(findVm(list, reference), interrupt.signal));
  void Promise.allSettled(ends);
  const exitCode = await forEach([...ends.entries()], async ([, end]) => {
    const exit = await end.catch((error: unknown) => {
      if (!interrupt.signal.aborted) {
        throw error;
      }
    });
    if (exit) {
      await printLines([String(exitCodeOf(exit))]);
    }
  });
  return interrupt.exitCode ?? exitCode;
}
