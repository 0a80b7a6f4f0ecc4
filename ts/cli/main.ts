import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../util/package-root.js';
import { reportError } from './report.js';

/** Docker's: the program itself failed, rather than the command that it ran. */
const EXIT_FAILED = 125;

/** Runs the command line and gives the exit code. Whatever a command does not need is not loaded for it. */
export async function main(args: readonly string[]): Promise<number> {
  if (args.length === 1 && args[0] === '--version') {
    console.log(version());
    return 0;
  }
  return (await atOnce(args)) ?? (await byCommander(args));
}

/** What is asked for so often that it is done without all that parses and explains the command line. */
async function atOnce([command, ...args]: readonly string[]): Promise<number | undefined> {
  if (command !== 'ps') {
    return undefined;
  }
  const { psAtOnce } = await import('./vms/ps.js');
  try {
    return await psAtOnce(args);
  } catch (error) {
    reportError(error);
    return EXIT_FAILED;
  }
}

async function byCommander(args: readonly string[]): Promise<number> {
  const [{ CommanderError }, { smartvmProgram }] = await Promise.all([import('commander'), import('./program.js')]);
  let exitCode = 0;
  const exit = (code: number) => {
    exitCode = code;
  };
  const program = await smartvmProgram(version(), exit, args[0]);
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
