import type { Readable, Writable } from 'node:stream';
import { isRecord } from '../../config/validation/checks.js';
import { SmartVMError } from '../../errors.js';
import { throwIfCanceled } from '../../util/deadline.js';
import { parseSafeJson } from '../../util/safe-json.js';
import type { Guest, GuestCommand } from '../types.js';
import { pathField, shown } from './path.js';
import type { GuestPath } from './types.js';

const MAX_ERROR_BYTES = 64 * 1024;
const MAX_MESSAGE_LENGTH = 8 * 1024;

/** One operation on the guest's files: a channel of its own. */
export class FileCall implements Disposable {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Rejects when it has failed, settles when it is done and all of `stdout` is read. */
  readonly done: Promise<void>;
  readonly #command: GuestCommand;
  readonly #stopListening: () => void;

  /** @throws SmartVMError INVALID_OPTION, AGENT_TOO_OLD, AGENT_UNREACHABLE, CANCELED */
  static async open(
    guest: () => Promise<Guest>,
    op: string,
    path: GuestPath,
    fields: object = {},
    signal?: AbortSignal,
  ): Promise<FileCall> {
    const request = { op, path: pathField(path), ...fields };
    const what = `${op} of ${shown(path)}`;
    throwIfCanceled(signal, what);
    const opening = guest().then((opened) => opened.files(request));
    try {
      return new FileCall(await unlessCanceled(opening, what, signal), what, path, signal);
    } catch (error) {
      opening.then(
        (command) => command.destroy(), // one that comes late
        () => undefined,
      );
      throw error;
    }
  }

  private constructor(command: GuestCommand, what: string, path: GuestPath, signal?: AbortSignal) {
    this.#command = command;
    this.stdin = command.stdin;
    this.stdout = command.stdout;
    this.stdin.on('error', () => undefined); // `done` has the reason
    this.done = this.#settle(what, path, signal);
    this.done.catch(() => undefined); // whoever waits is told
    const abort = () => command.destroy();
    signal?.addEventListener('abort', abort, { once: true });
    this.#stopListening = () => signal?.removeEventListener('abort', abort);
    if (signal?.aborted) {
      abort();
    }
  }

  async #settle(what: string, path: GuestPath, signal?: AbortSignal): Promise<void> {
    const words = textOf(this.#command.stderr);
    try {
      const { exitCode } = await this.#command.wait();
      if (exitCode !== 0) {
        throw failure(what, path, await words);
      }
    } catch (error) {
      throw signal?.aborted ? new SmartVMError('CANCELED', `${what} was canceled`, { cause: error }) : error;
    } finally {
      this.#stopListening();
    }
  }

  /** Ends the operation, unless it has ended. */
  [Symbol.dispose](): void {
    this.#stopListening();
    this.#command.destroy();
  }
}

/** A guest that does not answer cannot hold up an abort. */
async function unlessCanceled<T>(work: Promise<T>, what: string, signal: AbortSignal | undefined): Promise<T> {
  let abort!: () => void;
  const canceled = new Promise<never>((_resolve, reject) => {
    abort = () => reject(new SmartVMError('CANCELED', `${what} was canceled`, { cause: signal?.reason }));
  });
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, canceled]);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    if (bytes < MAX_ERROR_BYTES) {
      bytes += chunk.length;
      chunks.push(chunk);
    }
  });
  return new Promise((resolve) => {
    stream.once('end', () => resolve(Buffer.concat(chunks).toString()));
  });
}

/** What the guest says of its failure is its word alone. */
function failure(what: string, path: GuestPath, words: string): SmartVMError {
  let answer: unknown;
  try {
    answer = parseSafeJson(words);
  } catch {
    answer = undefined;
  }
  const { message, errno } = isRecord(answer) ? answer : {};
  const why = typeof message === 'string' ? message.slice(0, MAX_MESSAGE_LENGTH) : 'it does not say why';
  return new SmartVMError('GUEST_FILE_FAILED', `${what} failed in the guest: ${why}`, {
    details: { path, ...(isErrno(errno) && { errno }) },
  });
}

export function isErrno(value: unknown): value is string {
  return typeof value === 'string' && /^E[A-Z0-9]{1,31}$/.test(value);
}

export function isErrnoOf(error: unknown, errno: string): boolean {
  return error instanceof SmartVMError && error.code === 'GUEST_FILE_FAILED' && error.details.errno === errno;
}
