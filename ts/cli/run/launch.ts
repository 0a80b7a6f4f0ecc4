import { type ImageConfig, imageCommand } from '../../config/image-config.js';
import type { LayerOptions } from '../../config/layers.js';
import type { ProgressListener } from '../../images/image-manager.js';
import { DEFAULT_IMAGE, imageReference, type LaunchOptions } from '../../launch.js';
import { SmartVM } from '../../smartvm.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import { type EnvironmentOptions, environmentOf, labelsOf } from '../environment.js';
import { ProgressPrinter } from '../images/progress.js';
import { type Interrupt, watchInterrupts } from '../interrupt.js';
import { egressOf } from '../network/egress.js';
import { milliseconds } from '../options.js';
import { exitCodeOfRefusal } from '../process-exit.js';
import { reportError, reportWarnings } from '../report.js';
import { printLines } from '../vms/output.js';
import { follow } from './follow.js';
import { launchInNetwork } from './network.js';
import { readyWhenOf } from './ready.js';
import { exitCodeInTime } from './time-up.js';

export interface RunOptions extends EnvironmentOptions {
  image?: string;
  entrypoint?: string;
  pull: 'always' | 'missing';
  cpus: number;
  memory: number;
  diskSize?: number;
  keep?: string;
  layer: LayerOptions['layer'];
  detach?: boolean;
  rm?: boolean;
  name?: string;
  id?: string;
  label?: readonly string[];
  workdir?: string;
  user?: string;
  init: LaunchOptions['init'];
  hostname?: string;
  network?: readonly string[];
  publish?: readonly string[];
  egress?: readonly string[];
  dns?: readonly string[];
  ip?: readonly string[];
  ttl?: number;
  timeout?: number;
  ready?: readonly string[];
  readyTimeout?: number;
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
      const detachedLaunch = (onProgress: ProgressListener) =>
        launchInNetwork(smartvm, { ...launch, ...detached, onProgress });
      return await announce(await told(detachedLaunch), interrupt);
    }
    const pull = isOwn ? undefined : options.pull; // it was asked for already
    const vm = await told((onProgress) => launchInNetwork(smartvm, { ...launch, pull, onProgress }));
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
    layer: options.layer,
    diskSizeMib: options.diskSize,
    ...(options.keep === undefined ? {} : { ephemeral: false, layerName: options.keep }),
    init: options.init,
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
    readyWhen: readyWhenOf(options.ready),
    readyTimeoutMs: milliseconds(options.readyTimeout),
    signal,
  };
}

/** What the image says of its command: that of a layer which is kept, where there is one. */
async function imageConfigOf(
  { imageManager, layers }: SmartVM,
  { pull }: RunOptions,
  launch: LaunchOptions,
): Promise<ImageConfig | undefined> {
  const kept = await layers.imageOf(launch);
  if (kept) {
    return kept.config;
  }
  const [name, refresh] = [imageReference(launch.image) ?? DEFAULT_IMAGE, pull === 'always'];
  const image = await told((onProgress) => imageManager.resolve(name, { signal: launch.signal, onProgress, refresh }));
  return image.config;
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

/** What is told of the work is taken from the terminal when that is done: what follows is the command's, or an error. */
async function told<Result>(work: (onProgress: ProgressListener) => Promise<Result>): Promise<Result> {
  using progress = new ProgressPrinter();
  return await work(progress.tell);
}
