import { parseRequest } from './api/routes.js';
import { ArgumentError, type Arguments, helpText, parseArguments } from './arguments.js';
import { API_VERSION, Vmm } from './controller/vmm.js';
import { EXIT, type ExitCode, FatalError } from './exit.js';
import { Fault, osErrorText } from './fault.js';
import type { HttpRequest } from './http/request-parser.js';
import { type HttpResponse, HttpServer } from './http/server.js';
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
  if (args.flag('help') || args.flag('version')) {
    process.stdout.write(`Firecracker v${API_VERSION}\n\n${args.flag('help') ? `${helpText()}\n` : ''}`);
    return EXIT.ok;
  }
  refuseUnsupported(args);
  const vmm = new Vmm(checkedId(args.value('id') ?? ''));
  onSignal(vmm);
  const configFile = args.value('config-file');
  const config = configFile === undefined ? undefined : await readConfigFile(configFile);
  if (!args.flag('no-api')) {
    await serve(vmm, args);
  }
  if (config) {
    const { startFromConfigFile } = await import('./controller/config-file.js');
    await startFromConfigFile(vmm, config);
  }
  const end = await vmm.ended;
  if (end.by === 'crash') {
    throw new FatalError(end.reason, EXIT.error);
  }
  return EXIT.ok;
}

function refuseUnsupported(args: Arguments): void {
  const level = args.value('level');
  if (level !== undefined && !/^(?:off|trace|debug|info|warn|warning|error)$/i.test(level)) {
    throw new FatalError(
      `Invalid value for logger level: Failed to parse string to level filter: ${level}.Possible values: [Error, Warning, Info, Debug]`,
      EXIT.badConfiguration,
    );
  }
  for (const name of ['snapshot-version', 'describe-snapshot', 'metadata'] as const) {
    if (args.flag(name)) {
      throw new FatalError(`The requested operation is not supported: --${name}`, EXIT.error);
    }
  }
}

function checkedId(id: string): string {
  if (!/^[-\p{Alphabetic}\p{N}]+$/u.test(id) || Buffer.byteLength(id) > 64) {
    throw new FatalError(`Invalid instance ID '${id}': 1 to 64 letters, digits and hyphens`, EXIT.error);
  }
  return id;
}

async function readConfigFile(path: string): Promise<Buffer> {
  const { readFile } = await import('node:fs/promises');
  return await readFile(path).catch((cause) => {
    throw new FatalError(
      `Unable to open or read from the configuration file: ${osErrorText(cause)}`,
      EXIT.badConfiguration,
    );
  });
}

async function serve(vmm: Vmm, args: Arguments): Promise<void> {
  const path = args.value('api-sock') ?? '';
  const limit = Number(args.value('http-api-max-payload-size'));
  if (!Number.isSafeInteger(limit) || limit < 0) {
    throw new FatalError("'http-api-max-payload-size' parameter expected to be of 'usize' type.", EXIT.error);
  }
  const server = new HttpServer(limit, (request) => respond(vmm, request));
  await server.listen(path).catch((error: BindError) => {
    const reason = error.inUse
      ? `Failed to open the API socket at: ${path}. Check that it is not already used.`
      : `Failed to bind and run the HTTP server: IO error: ${error.message}`;
    throw new FatalError(reason, EXIT.error);
  });
}

async function respond(vmm: Vmm, { method, path, body }: HttpRequest): Promise<HttpResponse> {
  let deprecated = false;
  try {
    const parsed = parseRequest(method, path, body);
    deprecated = parsed.deprecated;
    const answer = await vmm.handle(parsed.action);
    return answer ? { status: 200, body: JSON.stringify(answer), deprecated } : { status: 204, deprecated };
  } catch (error) {
    const { status, message } = error instanceof Fault ? error : { status: 400, message: internal(error) };
    return { status, body: JSON.stringify({ fault_message: message }), deprecated };
  }
}

/** Not foreseen: the client hears of it, and so does the log. */
function internal(error: unknown): string {
  process.stderr.write(`${(error as Error).stack}\n`);
  return `Internal VMM error: ${(error as Error).message}`;
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
