import { join } from 'node:path';
import { defaultDataDir } from '../../config/directories.js';
import { ImageManager } from '../../images/image-manager.js';
import { kvmProblem } from '../../vmm/host.js';
import { watchInterrupts } from '../interrupt.js';
import { firecrackerStep } from './firecracker.js';
import { packagesStep } from './packages.js';
import { LineReporter, TerminalReporter } from './report.js';
import { runSteps, type Step, type StepResult } from './step.js';

export interface InstallOptions {
  withDeps?: boolean;
  firecracker?: boolean;
  firecrackerVersion?: string;
  /** False with `--no-image`. */
  image: string | false;
  dryRun?: boolean;
  json?: boolean;
}

/** The first line of the document that `--json` prints; raised when a program that reads it would have to change. */
const SCHEMA_VERSION = 1;

/** Runs `smartvm install` and gives its exit code. */
export async function install(options: InstallOptions): Promise<number> {
  using interrupt = watchInterrupts();
  const output = options.json ? process.stderr : process.stdout;
  const terminal = output.isTTY && process.env.TERM !== 'dumb';
  const reporter = terminal ? new TerminalReporter(output) : new LineReporter(output);
  const steps = await plan(options, interrupt.signal);
  const { signal } = interrupt;
  const results = await runSteps(steps, reporter, { dryRun: options.dryRun ?? false, signal });
  const uninterrupted = interrupt.exitCode === undefined;
  const ready = uninterrupted && results.every(({ state }) => state === 'present' || state === 'done');
  const changed = results.some(({ state }) => state === 'done');
  reporter.line(uninterrupted ? summary(results) : 'interrupted; run it again to go on');
  if (options.json) {
    const document = { schemaVersion: SCHEMA_VERSION, ready, changed, dryRun: options.dryRun ?? false, steps: results };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  }
  return interrupt.exitCode ?? (results.some(({ state }) => state === 'failed') ? 1 : 0);
}

async function plan(options: InstallOptions, signal: AbortSignal): Promise<Step[]> {
  const dataDir = defaultDataDir();
  const problem = await kvmProblem();
  const fetchesFirecracker = problem === undefined || options.firecracker === true;
  const images = new ImageManager({ cacheDir: join(dataDir, 'images') });
  const { image } = options;
  const hasImage = image !== false && (await images.has(image).catch(() => false));
  const makesImage = image !== false && !hasImage;
  const oci = makesImage && image.startsWith('oci:');
  const needs = { qemu: problem !== undefined, release: fetchesFirecracker, image: makesImage, oci };
  const reason = problem === undefined ? 'KVM can run guests here' : 'asked for by --firecracker';
  const wish = { version: options.firecrackerVersion, dataDir, reason, signal };
  return [
    vmmStep(problem),
    packagesStep(needs, options.withDeps ?? false),
    ...(fetchesFirecracker ? [firecrackerStep(wish)] : []),
    ...(image === false ? [] : [imageStep(images, image, signal)]),
  ];
}

function vmmStep(problem: string | undefined): Step {
  const message = problem === undefined ? 'VMs run under Firecracker' : 'VMs run under QEMU, by smartvm-qemu';
  const reason = problem ?? 'KVM can run guests here';
  const details = { kind: problem === undefined ? 'firecracker' : 'qemu' };
  return { name: 'vmm', find: async () => ({ state: 'present', message, reason, details }) };
}

function imageStep(images: ImageManager, name: string, signal: AbortSignal): Step {
  const details = { name, folder: images.cacheDir };
  return {
    name: 'image',
    find: async () => {
      if (await images.has(name)) {
        return { state: 'present', message: `image ${name} is in ${images.cacheDir}`, details };
      }
      return {
        state: 'needed',
        message: `building image ${name}, which takes about a minute`,
        reason: `${images.cacheDir} does not have it`,
        details,
        act: async (listener) => {
          await images.resolve(name, { signal, onProgress: ({ message }) => listener.message(message) });
          return { message: `built image ${name} in ${images.cacheDir}`, details };
        },
      };
    },
  };
}

function summary(results: readonly StepResult[]): string {
  const has = (wanted: StepResult['state']) => results.some(({ state }) => state === wanted);
  if (has('failed')) {
    const commands = results.flatMap(({ command }) => command ?? []);
    return ['not ready: see above', ...commands.map((command) => `run: ${command}`)].join('\n');
  }
  if (has('planned')) {
    return 'a dry run: nothing was done';
  }
  return has('done') ? 'ready; try: smartvm run -- uname -a' : 'nothing to do: all that SmartVM needs is here';
}
