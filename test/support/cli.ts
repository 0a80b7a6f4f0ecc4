import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { processesNaming, until } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';

const SMARTVM = join(PACKAGE_ROOT, 'bin/smartvm');
/** For what hangs. */
const SAYS_MS = 60_000;

export interface CliResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command line as a user has it, that runs until it ends or is ended. */
export class Cli implements AsyncDisposable {
  readonly child: ChildProcessWithoutNullStreams;
  readonly #chunks: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
  readonly #closed: Promise<unknown>;

  constructor(runtimeDir: string, command: readonly [string, ...string[]]) {
    const [program, ...args] = command;
    const { NO_COLOR: _plain, ...env } = process.env; // the terminal is the test's, not that of whoever runs it
    this.child = spawn(program, args, { env: { ...env, SMARTVM_RUNTIME_DIR: runtimeDir } });
    this.child.stdout.on('data', (chunk: Buffer) => this.#chunks.stdout.push(chunk));
    this.child.stderr.on('data', (chunk: Buffer) => this.#chunks.stderr.push(chunk));
    this.#closed = once(this.child, 'close');
  }

  get stdout(): string {
    return Buffer.concat(this.#chunks.stdout).toString();
  }

  get stderr(): string {
    return Buffer.concat(this.#chunks.stderr).toString();
  }

  /** Waits for a text on its standard output or standard error. */
  async says(text: string, count = 1): Promise<void> {
    const all = () => this.stdout + this.stderr;
    await until(() => all().split(text).length > count, SAYS_MS, text).catch(() => {
      throw new Error(`'${text}' did not come; it said ${JSON.stringify(all())}`);
    });
  }

  async end(): Promise<CliResult> {
    await this.#closed;
    return { exitCode: this.child.exitCode, stdout: this.stdout, stderr: this.stderr };
  }

  /** As a shell has it, and the signal where one has ended it. */
  async exitCode(): Promise<number | NodeJS.Signals | null> {
    await this.#closed;
    return this.child.exitCode ?? this.child.signalCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.#closed;
  }
}

/** `smartvm` with its output in pipes. */
export function cli(runtimeDir: string, ...args: string[]): Cli {
  return new Cli(runtimeDir, [SMARTVM, ...args]);
}

/** `smartvm` on a terminal, by script(1); what it prints has its lines ended by CR and LF. */
export function cliOnTerminal(runtimeDir: string, ...args: string[]): Cli {
  return new Cli(runtimeDir, ['script', '-qefc', [SMARTVM, ...args].join(' '), '/dev/null']);
}

/** `smartvm` with a runtime directory of its own. */
export class Smartvm implements AsyncDisposable {
  readonly #scratch: ScratchDirectory;

  private constructor(scratch: ScratchDirectory) {
    this.#scratch = scratch;
  }

  static async open(): Promise<Smartvm> {
    const smartvm = new Smartvm(await scratchDirectory());
    await mkdir(smartvm.runtimeDir, { mode: 0o700 });
    return smartvm;
  }

  get runtimeDir(): string {
    return this.#scratch.file('run');
  }

  /** The path of a file that goes with it. */
  file(name: string): string {
    return this.#scratch.file(name);
  }

  spawn(...args: string[]): Cli {
    return cli(this.runtimeDir, ...args);
  }

  async run(args: readonly string[], input = ''): Promise<CliResult> {
    const command = this.spawn(...args);
    command.child.stdin.end(input);
    return await command.end();
  }

  /** The VMs that have a directory. */
  async vms(): Promise<string[]> {
    return (await readdir(this.runtimeDir)).filter((name) => !['.leases', '.reclaim.lock'].includes(name));
  }

  async leftovers(): Promise<string[]> {
    const kinds = ['capacity', 'name'].map((kind) => readdir(join(this.runtimeDir, '.leases', kind)).catch(() => []));
    const leases = (await Promise.all(kinds)).flat().filter((name) => name !== '.lock');
    return [...leases, ...(await this.vms()), ...(await processesNaming(this.runtimeDir))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scratch[Symbol.asyncDispose]();
  }
}
