import type { ImageProgress } from '../../images/image-manager.js';
import type { LaunchOptions } from '../../launch.js';
import { SmartVM } from '../../smartvm.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import { type EnvironmentOptions, environmentOf, labelsOf } from '../environment.js';
import { type Interrupt, watchInterrupts } from '../interrupt.js';
import { milliseconds } from '../options.js';
import { printable } from '../printable.js';
import { exitCodeOfRefusal } from '../process-exit.js';
import { reportError, reportWarnings } from '../report.js';
import { printLines } from '../vms/output.js';
import { follow } from './follow.js';
import { exitCodeInTime } from './time-up.js';

export interface RunOptions extends EnvironmentOptions {
  image: string;
  cpus: number;
  memory: number;
  detach?: boolean;
  rm?: boolean;
  name?: string;
  id?: string;
  label?: readonly string[];
  workdir?: string;
  user?: string;
  hostname?: string;
  ttl?: number;
  timeout?: number;
  queue?: number;
  interactive?: boolean;
  /** False with `--no-jail`. */
  jail: boolean;
}

/** Runs a command in a VM of its own and gives its exit code. Unless it is detached, the VM is gone when this settles. */
export async function run(command: readonly string[], options: RunOptions): Promise<number> {
  using interrupt = watchInterrupts();
  await using _warnings = reportWarnings();
  await using smartvm = new SmartVM(options.jail ? {} : { jail: false });
  try {
    const launch = launchOptions(options, interrupt.signal);
    if (options.detach) {
      const detached = { detached: true, removeOnExit: options.rm, command: command.length > 0 ? command : undefined };
      return await announce(await smartvm.launch({ ...launch, ...detached }), interrupt);
    }
    const vm = await smartvm.launch(launch);
    const end = follow(await vm.spawn(command), options, interrupt);
    return options.ttl === undefined ? await end : (interrupt.exitCode ?? (await exitCodeInTime(vm, end)));
  } catch (error) {
    if (interrupt.exitCode !== undefined) {
      return interrupt.exitCode;
    }
    const exitCode = exitCodeOfRefusal(error);
    if (exitCode === undefined) {
      throw error;
    }
    reportError(error);
    return exitCode;
  }
}

function launchOptions(options: RunOptions, signal: AbortSignal): LaunchOptions {
  return {
    id: options.id,
    name: options.name,
    labels: labelsOf(options.label),
    image: options.image,
    vcpuCount: options.cpus,
    memSizeMib: options.memory,
    hostname: options.hostname,
    env: environmentOf(options),
    user: options.user,
    cwd: options.workdir,
    timeoutMs: milliseconds(options.ttl),
    queueMs: milliseconds(options.queue),
    signal,
    onProgress: printProgress,
  };
}

/** Prints the id of a VM that is to live on. One of whom nobody learns, or who is not wanted any more, ends. */
async function announce(vm: MicroVM, interrupt: Interrupt): Promise<number> {
  const exitCode = interrupt.exitCode ?? (await printLines([vm.id]));
  if (exitCode !== 0 || interrupt.exitCode !== undefined) {
    await vm.stop({ force: true });
  }
  return interrupt.exitCode ?? exitCode;
}

function printProgress({ message }: ImageProgress): void {
  process.stderr.write(`${printable(message)}\n`);
}
