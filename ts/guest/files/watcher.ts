import { SmartVMError } from '../../errors.js';
import { changeOf, linesOf, refused } from './answers.js';
import type { FileCall } from './call.js';
import type { FileChange } from './types.js';

/**
 * Changes of files in the guest, as a loop takes them. Those not yet taken are kept in the guest, which drops them at some point, and says so.
 * Leaving the loop ends it.
 */
export class FileWatcher implements AsyncIterable<FileChange>, AsyncDisposable {
  readonly #call: FileCall;
  readonly #changes: AsyncGenerator<FileChange, void, undefined>;
  #isClosed = false;

  private constructor(call: FileCall, lines: AsyncGenerator<string, void, undefined>) {
    this.#call = call;
    this.#changes = this.#read(lines);
  }

  /** Settles when the guest watches. @throws SmartVMError GUEST_FILE_FAILED, GUEST_FILE_REFUSED */
  static async open(call: FileCall): Promise<FileWatcher> {
    const lines = linesOf(call.stdout);
    try {
      const first = await lines.next();
      if (first.done) {
        await call.done;
        throw refused('it does not watch');
      }
      if (changeOf(first.value)) {
        throw refused('a change before it watches');
      }
      return new FileWatcher(call, lines);
    } catch (error) {
      call[Symbol.dispose]();
      throw error instanceof SmartVMError ? error : await reasonOf(call, error);
    }
  }

  /** Ends when the watched directory itself has gone, or when it is closed. @throws SmartVMError GUEST_FILE_FAILED, AGENT_UNREACHABLE, VMM_EXITED */
  [Symbol.asyncIterator](): AsyncGenerator<FileChange, void, undefined> {
    return this.#changes;
  }

  /** Ends the watch; a loop that waits ends too. */
  close(): void {
    this.#isClosed = true;
    this.#call[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.#call.done.catch(() => undefined);
  }

  async *#read(lines: AsyncGenerator<string, void, undefined>): AsyncGenerator<FileChange, void, undefined> {
    try {
      for await (const line of lines) {
        const change = changeOf(line);
        if (change) {
          yield change;
        }
      }
      if (!this.#isClosed) {
        await this.#call.done;
      }
    } catch (error) {
      if (!this.#isClosed) {
        throw error instanceof SmartVMError ? error : await reasonOf(this.#call, error);
      }
    } finally {
      this.close();
    }
  }
}

/** Why a stream broke off. */
async function reasonOf(call: FileCall, error: unknown): Promise<unknown> {
  return await call.done.then(
    () => error,
    (reason) => reason,
  );
}
