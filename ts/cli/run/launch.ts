import { type ImageConfig, imageCommand } from '../../config/image-config.js';
import type { ImageProgress } from '../../images/image-manager.js';
import type { LaunchOptions } from '../../launch.js';
import { SmartVM } from '../../smartvm.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import { type EnvironmentOptions, environmentOf, labelsOf } from '../environment.js';
import { type Interrupt, watchInterrupts } from '../interrupt.js';
import { egressOf } from '../network/egress.js';
import { milliseconds } from '../options.js';
import { printable } from '../printable.js';
import { exitCodeOfRefusal } from '../process-exit.js';
import { reportError, reportWarnings } from '../report.js';
import { printLines } from '../vms/output.js';
import { follow } from './follow.js';
import { launchInNetwork } from './network.js';
import { exitCodeInTime } from './time-up.js';

export interface RunOptions extends EnvironmentOptions {
  image: string;
  entrypoint?: string;
  pull: 'always' | 'missing';
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
  network?: readonly string[];
  publish?: readonly string[];
  egress?: readonly string[];
  dns?: readonly string[];
  ip?: readonly string[];
  ttl?: number;
  timeout?: number;
  queue?: number;
  interactive?: boolean;
  /** False with `--no-jail`. */
  jail: boolean;
}

/** Runs a command in a VM of its own and gives its exit code. Unless it is detached, the VM is gone when this settles. */
export async function run(words: readonly string[], options: RunOptions): Promise<number> {
  using interrupt = watchInterrupts();
  await using _warnings = reportWarnings();
  await using smartvm = new SmartVM(options.jail ? {} : { jail: false });
  try {
    const launch = launchOptions(options, interrupt.signal);
    const isOwn = options.detach || words.length === 0;
    // An image's own command is to be known before anything boots; of what else is wrong, launch() speaks sooner.
    const known = isOwn ? commandOf(words, options, await imageConfigOf(smartvm, options, launch)) : undefined;
    if (options.detach) {
      const detached = { detached: true, removeOnExit: options.rm, command: known };
      return await announce(await launchInNetwork(smartvm, { ...launch, ...detached }), interrupt);
    }
    const vm = await launchInNetwork(smartvm, isOwn ? launch : { ...launch, pull: options.pull });
    const command = known ?? commandOf(words, options, vm.imageConfig) ?? [];
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
    network: options.network,
    publish: options.publish,
    egress: egressOf(options.egress),
    dns: options.dns,
    ip: options.ip,
    timeoutMs: milliseconds(options.ttl),
    queueMs: milliseconds(options.queue),
    signal,
    onProgress: printProgress,
  };
}

/** What the image says of its command. */
async function imageConfigOf(
  { imageManager }: SmartVM,
  { image, pull }: RunOptions,
  { signal, onProgress }: LaunchOptions,
): Promise<ImageConfig | undefined> {
  return (await imageManager.resolve(image, { signal, onProgress, refresh: pull === 'always' })).config;
}

/** Undefined for a VM that is to run without one. @throws SmartVMError INVALID_OPTION where there has to be one, and is none */
function commandOf(
  words: readonly string[],
  { detach, entrypoint }: RunOptions,
  config: ImageConfig | undefined,
): readonly string[] | undefined {
  const isOwn = config?.entrypoint !== undefined || config?.cmd !== undefined;
  if (detach && words.length === 0 && entrypoint === undefined && !isOwn) {
    return undefined;
  }
  return imageCommand(config, {
    args: words.length > 0 ? words : undefined,
    entrypoint: entrypoint === undefined ? undefined : [entrypoint].filter(Boolean),
  });
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
