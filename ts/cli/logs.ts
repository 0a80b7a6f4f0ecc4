import { type Command, InvalidArgumentError } from 'commander';

interface LogsOptions {
  follow?: boolean;
  tail?: number;
}

export function addLogsCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('logs')
    .description("print a VM's serial console: of its last 2 MiB, what is kept")
    .argument('<vm>', 'its id, its name, or the beginning of its id')
    .option('-f, --follow', 'go on with what comes, until the VM ends')
    .option('-n, --tail <lines>', "only the last lines, or 'all'", lines)
    .addHelpText('after', '\nA terminal gets it with control characters spelt out, a pipe or file as it is.')
    .addHelpText('after', '\nExample:\n  smartvm logs -f --tail 20 web')
    .action(async (vm: string, options: LogsOptions) => exit(await logs(vm, options)));
}

async function logs(reference: string, { follow = false, tail }: LogsOptions): Promise<number> {
  const [{ watchInterrupts }, { consoleOf }, { forEach }, { findVm }, { listVms }, { print }, { TerminalText }] =
    await Promise.all([
      import('./interrupt.js'),
      import('./vms/console.js'),
      import('./vms/each.js'),
      import('./vms/find.js'),
      import('./vms/list.js'),
      import('./vms/output.js'),
      import('./vms/terminal-text.js'),
    ]);
  using interrupt = watchInterrupts();
  const text = process.stdout.isTTY ? new TerminalText() : undefined;
  const exitCode = await forEach([reference], async () => {
    const { runtimeDir } = findVm(listVms(), reference);
    try {
      for await (const chunk of consoleOf(runtimeDir, { follow, tail, signal: interrupt.signal })) {
        await print(text ? text.push(chunk) : chunk);
      }
    } catch (error) {
      if (!interrupt.signal.aborted) {
        throw error;
      }
    }
  });
  await print(text?.end() ?? '');
  return interrupt.exitCode ?? exitCode;
}

function lines(text: string): number | undefined {
  if (text !== 'all' && !/^\d{1,15}$/.test(text)) {
    throw new InvalidArgumentError("It is a whole number of lines, or 'all'.");
  }
  return text === 'all' ? undefined : Number(text);
}
