import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { truncate, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { until } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';
import { compileToyGuest } from './toy-guest.js';
import type { VmmAtHand } from './toy-vm.js';

/** A request as it goes over the socket; a string is a body word for word, anything else becomes JSON. */
export interface Step {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

/** Both null when the VMM hung up instead of answering. */
export interface RawAnswer {
  readonly status: number | null;
  readonly text: string | null;
}

/** Values for the `{names}` in the strings of steps. */
type Names = Readonly<Record<string, string>>;

/** A VMM as a program that answers on a socket: nothing of ours stands between it and the test. */
export class RawVmm implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly #scratch: ScratchDirectory;
  readonly #names: Names;

  private constructor(vmm: VmmAtHand, scratch: ScratchDirectory, names: Names) {
    this.#scratch = scratch;
    this.#names = { ...names, dir: scratch.path };
    this.process = spawn(vmm.path, ['--api-sock', this.#socketPath], { stdio: 'ignore' });
  }

  /** One that answers, with a kernel and disks in its `{dir}`. */
  static async start(vmm: VmmAtHand, names: Names): Promise<RawVmm> {
    const scratch = await scratchDirectory();
    await fillFolder(scratch);
    const raw = new RawVmm(vmm, scratch, names);
    const up = () => raw.send({ method: 'GET', path: '/version', body: null });
    await until(async () => (await up()).status === 200, 30_000, `an answer of ${vmm.name}`);
    return raw;
  }

  file(name: string): string {
    return this.#scratch.file(name);
  }

  /** @returns the answer, with the names back in place of what they stand for */
  async send({ method, path, body }: Step): Promise<RawAnswer> {
    const text = body === null ? '' : this.#filled(typeof body === 'string' ? body : JSON.stringify(body));
    const bytes = Buffer.from(text);
    const lengths = body === null ? '' : `Content-Length: ${bytes.length}\r\n`;
    const received = await exchange(
      this.#socketPath,
      Buffer.concat([Buffer.from(`${method} ${this.#filled(path)} HTTP/1.1\r\n${lengths}\r\n`), bytes]),
    );
    const status = /^HTTP\/1\.1 (\d+) /.exec(received)?.[1];
    const content = received.slice(received.indexOf('\r\n\r\n') + 4);
    return status === undefined
      ? { status: null, text: null }
      : { status: Number(status), text: content === '' ? null : this.#named(content) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill('SIGKILL');
      await once(this.process, 'close');
    }
    await this.#scratch[Symbol.asyncDispose]();
  }

  get #socketPath(): string {
    return this.#scratch.file('api.sock');
  }

  #filled(text: string): string {
    return Object.entries(this.#names).reduce((result, [name, value]) => result.replaceAll(`{${name}}`, value), text);
  }

  #named(text: string): string {
    return Object.entries(this.#names).reduce((result, [name, value]) => result.replaceAll(value, `{${name}}`), text);
  }
}

async function fillFolder(scratch: ScratchDirectory): Promise<void> {
  await compileToyGuest(scratch.file('toy'));
  await writeFile(scratch.file('not-a-kernel'), 'x'.repeat(5000));
  for (const [name, mib] of [
    ['disk.ext4', 1],
    ['ro.ext4', 1],
    ['big.ext4', 2],
  ] as const) {
    await writeFile(scratch.file(name), '');
    await truncate(scratch.file(name), mib << 20);
  }
}

/** Sends one request and reads one answer, by its Content-Length. Empty when there is none. */
function exchange(socketPath: string, request: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath);
    let received = Buffer.alloc(0);
    const finish = () => {
      socket.destroy();
      resolve(firstAnswer(received).toString());
    };
    socket.on('error', finish); // the VMM may hang up while a body is on its way; what it said before counts
    socket.on('end', finish);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length >= answerLength(received)) {
        finish();
      }
    });
    socket.write(request);
  });
}

/** A body that is refused is answered once for each piece of it that arrives. */
const firstAnswer = (received: Buffer) => received.subarray(0, Math.min(received.length, answerLength(received)));

/** Infinite while its headers are not all there. */
function answerLength(received: Buffer): number {
  const headersEnd = received.indexOf('\r\n\r\n');
  const length = /^content-length: *(\d+)/im.exec(received.toString('latin1', 0, Math.max(headersEnd, 0)))?.[1];
  return headersEnd < 0 ? Number.POSITIVE_INFINITY : headersEnd + 4 + Number(length ?? 0);
}
