import { constants } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type ImageConfig, imageCommand } from '../config/image-config.js';
import type { GuestProcess, ProcessExit } from '../guest/types.js';
import type { ImageProgress } from '../images/image-manager.js';
import { delay } from '../util/deadline.js';
import { type Interrupt, watchInterrupts } from './interrupt.js';
import { printable } from './printable.js';
import { reportWarnings } from './report.js';

interface RunOptions {
  image: string;
  entrypoint?: string;
  pull: 'always' | 'missing';
  cpus: number;
  memory: number;
  timeout?: number;
  queue?: number;
  interactive?: boolean;
  /** False with `--no-jail`. */
  jail: boolean;
}

/** Debian's kernel and the agent do not start in less. */
const MIN_MEMORY_MIB = 96;
/** As timeout(1). */
const EXIT_TIMED_OUT = 124;

export function addRunCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('run')
    .description('boot a microVM, run a command in it, and remove it')
    .argument('[command...]', "the command and its arguments, put -- before them; an OCI image's own by default")
    .option('--image <name>', 'image to boot: debian, oci:python:3.12, ./directory …', 'debian')
    .option('--entrypoint <program>', "run this in place of the OCI image's own entrypoint")
    .addOption(
      new Option('--pull <when>', 'whether to ask for an image anew that is there')
        .choices(['always', 'missing'])
        .default('missing'),
    )
    .option('--cpus <n>', 'virtual CPUs, 1 to 32', integer(1, 32), 1)
    .option('--memory <MiB>', 'memory in MiB', integer(MIN_MEMORY_MIB, Number.MAX_SAFE_INTEGER), 256)
    .option('--timeout <seconds>', 'end the command after this many seconds, with exit code 124', seconds)
    .option('--queue <seconds>', 'wait up to this many seconds where the host has no room for the VM', seconds)
    .option('-i, --interactive', "pass standard input on to the command's")
    .option('--no-jail', "run the VMM with this user's own rights; as root, it is jailed otherwise")
    .passThroughOptions()
    .addHelpText('after', '\nExample:\n  smartvm run --memory 512 -- uname -a')
    .action(async (command: string[], options: RunOptions) => exit(await run(command, options)));
}

/** Runs a command in a VM of its own and gives its exit code; the VM is gone when this settles. */
async function run(words: readonly string[], options: RunOptions): Promise<number> {
  const { image, pull, entrypoint } = options;
  const commandOf = (config: ImageConfig | undefined) =>
    imageCommand(config, {
      args: words.length > 0 ? words : undefined,
      entrypoint: entrypoint === undefined ? undefined : [entrypoint].filter(Boolean),
    });
  using interrupt = watchInterrupts();
  const { signal } = interrupt;
  const { SmartVM } = await import('../smartvm.js'); // not for the help
  await using _warnings = reportWarnings();
  await using smartvm = new SmartVM(options.jail ? {} : { jail: false });
  try {
    if (words.length === 0) {
      // Said before anything boots.
      commandOf((await smartvm.imageManager.resolve(image, { signal, onProgress: printProgress })).config);
    }
    const vm = await smartvm.launch({
      image,
      pull,
      vcpuCount: options.cpus,
      memSizeMib: options.memory,
      queueMs: options.queue === undefined ? undefined : Math.ceil(options.queue * 1000),
      signal,
      onProgress: printProgress,
    });
    const child = await vm.spawn(commandOf(vm.imageConfig));
    return await follow(child, options, interrupt);
  } catch (error) {
    if (interrupt.exitCode !== undefined) {
      return interrupt.exitCode;
    }
    throw error;
  }
}

async function follow(child: GuestProcess, options: RunOptions, interrupt: Interrupt): Promise<number> {
  child.stdout.pipe(process.stdout, { end: false });
  child.stderr.pipe(process.stderr, { end: false });
  if (options.interactive) {
    process.stdin.pipe(child.stdin);
  } else {
    child.stdin.end();
  }
  const done = new AbortController();
  const stops = AbortSignal.any([done.signal, interrupt.signal]);
  const timeoutMs = options.timeout === undefined ? undefined : options.timeout * 1000;
  const ended = interrupted(interrupt);
  const late = timeoutMs === undefined ? [] : [delay(timeoutMs, stops).then(() => EXIT_TIMED_OUT)];
  try {
    return await Promise.race([child.wait().then(exitCodeOf), ended, ...late]).then(
      (code) => interrupt.exitCode ?? code,
    );
  } finally {
    done.abort();
    process.stdin.unpipe(child.stdin).pause();
  }
}

function interrupted({ signal }: Interrupt): Promise<number> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(0), { once: true });
    if (signal.aborted) {
      resolve(0);
    }
  });
}

/** As a shell has it: 128 + the number of the signal that ended the command. */
function exitCodeOf(exit: ProcessExit): number {
  return exit.exitCode ?? 128 + (constants.signals[exit.signal ?? 'SIGKILL'] ?? 0);
}

function printProgress({ message }: ImageProgress): void {
  process.stderr.write(`${printable(message)}\n`);
}

function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It is a whole number of at least ${min}${max < 1e6 ? `, at most ${max}` : ''}.`);
    }
    return value;
  };
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 2_000_000)) {
    throw new InvalidArgumentError('It is a number of seconds over 0 and up to 2000000.');
  }
  return value;
}
