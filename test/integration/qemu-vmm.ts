import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { until } from '../support/leftovers.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';
import { compileToyGuest } from '../support/toy-guest.js';

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** A smartvm-qemu process as a user starts it, in a directory of its own. */
export class QemuVmm implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly scratch: ScratchDirectory;
  console = '';
  errors = '';

  private constructor(scratch: ScratchDirectory, args: readonly string[]) {
    this.scratch = scratch;
    this.process = spawn(join(PACKAGE_ROOT, 'bin/smartvm-qemu'), ['--api-sock', this.socketPath, ...args], {
      cwd: scratch.path,
    });
    (this.process.stdout as Readable).on('data', (chunk: Buffer) => {
      this.console += chunk;
    });
    (this.process.stderr as Readable).on('data', (chunk: Buffer) => {
      this.errors += chunk;
    });
  }

  /** @param prepare fills the directory before the process starts in it */
  static async start(
    args: readonly string[] = [],
    prepare: (scratch: ScratchDirectory) => Promise<unknown> = async () => undefined,
  ): Promise<QemuVmm> {
    const scratch = await scratchDirectory();
    await compileToyGuest(scratch.file('toy'));
    await prepare(scratch);
    return new QemuVmm(scratch, args);
  }

  /** One that answers. */
  static async ready(args: readonly string[] = []): Promise<QemuVmm> {
    const vmm = await QemuVmm.start(args);
    await vmm.answering();
    return vmm;
  }

  get socketPath(): string {
    return this.scratch.file('api.sock');
  }

  async answering(): Promise<void> {
    await until(
      () =>
        this.call('GET', '/').then(
          () => true,
          () => false,
        ),
      30_000,
      'an answer',
    );
  }

  call(method: string, path: string, body?: unknown): Promise<ApiAnswer> {
    const payload = body === undefined ? '' : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const call = request(
        { socketPath: this.socketPath, method, path, headers: { 'Content-Length': Buffer.byteLength(payload) } },
        (response) => {
          let text = '';
          response.on('data', (chunk: Buffer) => {
            text += chunk;
          });
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) }),
          );
        },
      );
      call.on('error', reject);
      call.end(payload);
    });
  }

  /** Boots the toy guest and waits for its greeting. */
  async bootToyGuest(): Promise<void> {
    await this.call('PUT', '/boot-source', { kernel_image_path: this.scratch.file('toy') });
    const started = await this.call('PUT', '/actions', { action_type: 'InstanceStart' });
    if (started.status !== 204) {
      throw new Error(JSON.stringify(started.body));
    }
    await this.says('TOY GUEST UP\n');
  }

  type(keys: string): void {
    this.process.stdin?.write(keys);
  }

  async says(text: string): Promise<void> {
    await until(() => this.console.includes(text), 30_000, `'${text.trim()}' on the console`);
  }

  /** How the process ends: its exit code, or the signal. */
  async exit(): Promise<number | NodeJS.Signals> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      await once(this.process, 'close');
    }
    return this.process.exitCode ?? (this.process.signalCode as NodeJS.Signals);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGKILL');
    await this.exit();
    await this.scratch[Symbol.asyncDispose]();
  }
}
