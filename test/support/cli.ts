import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { until } from './leftovers.js';

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
    this.child = spawn(program, args, { env: { ...process.env, SMARTVM_RUNTIME_DIR: runtimeDir } });
    this.child.stdout.on('data', (chunk: Buffer) => this.#chunks.stdout.push(chunk));
    this.child.stderr.on('data', (chunk: Buffer) => this.#chunks.stderr.push(chunk));
    this.#closed = once(this.child, 'close');
  }

  get stdout(): string {
    return Buffer.concat(this.#chunks.stdout).toString('latin1');
  }

  get stderr(): string {
    return Buffer.concat(this.#chunks.stderr).toString();
  }

  /** Waits for a text on its standard output or standard error. */
  async says(text: string, count = 1): Promise<void> {
    const all = () => this.stdout + this.stderr;
    await until(() => all().split(text).length > count, 20_000, text).catch(() => {
      throw new Error(`'${text}' did not come; it said ${JSON.stringify(all())}`);
    });
  }

  async end(): Promise<CliResult> {
    await this.#closed;
    return { exitCode: this.child.exitCode, stdout: this.stdout, stderr: this.stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.#closed;
  }
}

export const SMARTVM = join(PACKAGE_ROOT, 'bin/smartvm');

/** `smartvm` with its output in pipes. */
export function cli(runtimeDir: string, ...args: string[]): Cli {
  return new Cli(runtimeDir, [SMARTVM, ...args]);
}

/** `smartvm` on a terminal, by script(1); what it prints has its lines ended by CR and LF. */
export function cliOnTerminal(runtimeDir: string, ...args: string[]): Cli {
  return new Cli(runtimeDir, ['script', '-qefc', [SMARTVM, ...args].join(' '), '/dev/null']);
}
