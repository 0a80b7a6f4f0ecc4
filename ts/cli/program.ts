import { Command } from 'commander';

/** What a command calls with its exit code. */
export type Exit = (code: number) => void;

type AddCommand = (program: Command, exit: Exit) => void;

/** The commands by name, each in a file of its own, which is loaded for that command, and for help. */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  completion: async () => (await import('./completion.js')).addCompletionCommand,
  cp: async () => (await import('./cp.js')).addCpCommand,
  debug: async () => (await import('./debug.js')).addDebugCommand,
  doctor: async () => (await import('./doctor.js')).addDoctorCommand,
  events: async () => (await import('./events.js')).addEventsCommand,
  exec: async () => (await import('./exec.js')).addExecCommand,
  image: async () => (await import('./image.js')).addImageCommand,
  inspect: async () => (await import('./inspect.js')).addInspectCommand,
  install: async () => (await import('./install.js')).addInstallCommand,
  kill: async () => (await import('./kill.js')).addKillCommand,
  layer: async () => (await import('./layer.js')).addLayerCommand,
  logs: async () => (await import('./logs.js')).addLogsCommand,
  network: async () => (await import('./network.js')).addNetworkCommand,
  pause: async () => (await import('./pause.js')).addPauseCommand,
  'port-forward': async () => (await import('./port-forward.js')).addPortForwardCommand,
  prune: async () => (await import('./prune.js')).addPruneCommand,
  ps: async () => (await import('./ps.js')).addPsCommand,
  resume: async () => (await import('./resume.js')).addResumeCommand,
  rm: async () => (await import('./rm.js')).addRmCommand,
  run: async () => (await import('./run.js')).addRunCommand,
  shell: async () => (await import('./shell.js')).addShellCommand,
  'ssh-config': async () => (await import('./ssh-config.js')).addSshConfigCommand,
  'ssh-proxy': async () => (await import('./ssh-proxy.js')).addSshProxyCommand,
  stats: async () => (await import('./stats.js')).addStatsCommand,
  stop: async () => (await import('./stop.js')).addStopCommand,
  wait: async () => (await import('./wait.js')).addWaitCommand,
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
