import { serveApi } from './api-server.js';
import { ArgumentError, type Arguments, helpText, parseArguments } from './arguments.js';
import { API_VERSION, Vmm } from './controller/vmm.js';
import { EXIT, type ExitCode, FatalError } from './exit.js';
import { applyArguments, byteLimit, readInput } from './startup.js';
import { API_SOURCE } from './telemetry/logger.js';
import type { BindError } from './unix-socket.js';

/** Runs smartvm-qemu until its VM ends. Never rejects; exits the process with Firecracker's codes. */
export async function main(argv: readonly string[]): Promise<void> {
  process.exit(await run(argv).catch(report));
}

function report(error: unknown): ExitCode {
  if (error instanceof ArgumentError) {
    process.stderr.write(`Error: Arguments parsing error: ${error.message}\n\nFor more information try --help.\n`);
    return EXIT.badArguments;
  }
  const expected = error instanceof FatalError;
  process.stderr.write(`Error: ${expected ? error.message : (error as Error).stack}\n`);
  return expected ? error.exitCode : EXIT.error;
}

async function run(argv: readonly string[]): Promise<ExitCode> {
  const args = parseArguments(argv);
  const question = await answerQuestion(args);
  if (question !== undefined) {
    process.stdout.write(question);
    return EXIT.ok;
  }
  const payloadLimit = byteLimit(args, 'http-api-max-payload-size') ?? 0;
  const vmm = new Vmm(checkedId(args.value('id') ?? ''), byteLimit(args, 'mmds-size-limit') ?? payloadLimit);
  onSignal(vmm);
  await applyArguments(vmm, args);
  const configFile = args.value('config-file');
  const config = configFile === undefined ? undefined : await readInput(configFile, 'configuration');
  if (!args.flag('no-api')) {
    await serve(vmm, args.value('api-sock') ?? '', payloadLimit);
  }
  if (config) {
    const { startFromConfigFile } = await import('./controller/config-file.js');
    await startFromConfigFile(vmm, config);
  }
  return await exitCode(vmm);
}

/** What the program only says and then ends; undefined when it is to run a VM. @throws FatalError */
async function answerQuestion(args: Arguments): Promise<string | undefined> {
  if (args.flag('help') || args.flag('version')) {
    return `Firecracker v${API_VERSION}\n\n${args.flag('help') ? `${helpText()}\n` : ''}`;
  }
  const state = args.value('describe-snapshot');
  if (state === undefined && !args.flag('snapshot-version')) {
    return undefined;
  }
  const { readState, SNAPSHOT_VERSION } = await import('./snapshot/state-file.js');
  if (state !== undefined) {
    await readState(state).catch((error: Error) => {
      throw new FatalError(error.message, EXIT.error);
    });
  }
  return `v${SNAPSHOT_VERSION}\n`;
}

function checkedId(id: string): string {
  if (!/^[-\p{Alphabetic}\p{N}]+$/u.test(id) || Buffer.byteLength(id) > 64) {
    throw new FatalError(`Invalid instance ID '${id}': 1 to 64 letters, digits and hyphens`, EXIT.error);
  }
  return id;
}

async function serve(vmm: Vmm, path: string, payloadLimit: number): Promise<void> {
  await serveApi(vmm, path, payloadLimit).catch((error: BindError) => {
    const reason = error.inUse
      ? `Failed to open the API socket at: ${path}. Check that it is not already used.`
      : `Failed to bind and run the HTTP server: IO error: ${error.message}`;
    throw new FatalError(reason, EXIT.error);
  });
  vmm.logger.write('INFO', API_SOURCE, 'API server started.');
}

async function exitCode(vmm: Vmm): Promise<ExitCode> {
  const end = await vmm.ended;
  if (end.by === 'failed-load') {
    throw new FatalError('Failed to build MicroVM: Loading snapshot failed.', EXIT.error);
  }
  if (end.by === 'crash') {
    throw new FatalError(end.reason, EXIT.error);
  }
  return EXIT.ok;
}

/** QEMU ends first, then this process, by the signal: whoever waits for it finds nothing left. */
function onSignal(vmm: Vmm): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, async () => {
      await vmm.kill();
      process.kill(process.pid, signal);
    });
  }
  process.once('SIGHUP', async () => {
    await vmm.kill();
    process.exit(EXIT.hangup);
  });
}
