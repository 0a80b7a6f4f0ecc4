import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { processesNaming } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';

/** The command line as a user has it, with a runtime directory of its own. */
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

  spawn(...args: string[]): ChildProcessWithoutNullStreams {
    return spawn(join(PACKAGE_ROOT, 'bin/smartvm'), args, {
      env: { ...process.env, SMARTVM_RUNTIME_DIR: this.runtimeDir },
    });
  }

  async run(args: readonly string[], input = ''): Promise<{ stdout: string; stderr: string; exitCode: number | null }> {
    const child = this.spawn(...args);
    const output = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk: Buffer) => {
      output.stdout += chunk;
    });
    child.stderr.on('data', (chunk: Buffer) => {
      output.stderr += chunk;
    });
    child.stdin.end(input);
    const [exitCode] = (await once(child, 'close')) as [number | null];
    return { ...output, exitCode };
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
