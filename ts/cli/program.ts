import { Command } from 'commander';

/** What a command calls with its exit code. */
export type Exit = (code: number) => void;

type AddCommand = (program: Command, exit: Exit) => void;

/** The commands by name, each in a file of its own, which is loaded for that command, and for help. */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  completion: async () => (await import('./completion.js')).addCompletionCommand,
  doctor: async () => (await import('./doctor.js')).addDoctorCommand,
  image: async () => (await import('./image.js')).addImageCommand,
  install: async () => (await import('./install.js')).addInstallCommand,
  layer: async () => (await import('./layer.js')).addLayerCommand,
  ps: async () => (await import('./ps.js')).addPsCommand,
  run: async () => (await import('./run.js')).addRunCommand,
};

/**
 * The command line as commander has it: all that help, completion and manual page say is made from it.
 * @param only the one command that is needed; all where it is undefined or no command
 */
export async function smartvmProgram(version: string, exit: Exit, only?: string): Promise<Command> {
  const program = new Command('smartvm')
    .description("Firecracker microVMs: a virtual machine's wall with a container's ease")
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .addHelpText('after', '\nExample:\n  smartvm run -- uname -a')
    .exitOverride()
    .enablePositionalOptions();
  const names = only !== undefined && Object.hasOwn(COMMANDS, only) ? [only] : Object.keys(COMMANDS);
  const loaded = await Promise.all(names.map(async (name) => await COMMANDS[name]?.()));
  for (const add of loaded) {
    add?.(program, exit);
  }
  for (const command of [program, ...program.commands]) {
    const path = command === program ? program.name() : `${program.name()} ${command.name()}`;
    command.showHelpAfterError(`See '${path} --help'.`);
  }
  return program;
}
