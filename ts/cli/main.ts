import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../util/package-root.js';
import { printable } from './printable.js';

/** Docker's: the program itself failed, rather than the command that it ran. */
const EXIT_FAILED = 125;

/** Runs the command line and gives the exit code. Whatever a command does not need is not loaded for it. */
export async function main(args: readonly string[]): Promise<number> {
  if (args.length === 1 && args[0] === '--version') {
    console.log(version());
    return 0;
  }
  const { Command, CommanderError } = await import('commander');
  const { addDoctorCommand } = await import('./doctor.js');
  const { addRunCommand } = await import('./run.js');
  let exitCode = 0;
  const program = new Command('smartvm')
    .description("Firecracker microVMs: a virtual machine's wall with a container's ease")
    .version(version(), '--version', 'print the version')
    .exitOverride()
    .enablePositionalOptions();
  const exit = (code: number) => {
    exitCode = code;
  };
  addRunCommand(program, exit);
  addDoctorCommand(program, exit);
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? 0 : EXIT_FAILED; // commander has printed the help or the usage error
    }
    reportError(error);
    return EXIT_FAILED;
  }
}

function version(): string {
  return (JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as { version: string }).version;
}

/** One line of what happened, with the code to look up; what a guest printed is in it and is escaped. */
function reportError(error: unknown): void {
  const { code, message } = error as { code?: string; message?: string };
  console.error(printable(`smartvm: ${message ?? String(error)}${code ? ` [${code}]` : ''}`));
}
