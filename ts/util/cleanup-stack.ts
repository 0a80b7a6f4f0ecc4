import { SmartVMError } from '../errors.js';
import { CLEANUP_STEP, traced } from './traced.js';

type Undo = () => unknown;

interface Entry {
  readonly name: string;
  readonly undo: Undo;
}

/**
 * Undos, popped in reverse order of their making. Bring-up pushes one a step; failure and tear-down run the same list.
 * An undo that throws does not keep the others from running: all errors are reported together.
 */
export class CleanupStack {
  readonly #vmId: string | undefined;
  #entries: Entry[] = [];

  /** @param vmId of the VM whose subscribers are told of each undo; undefined: nobody is */
  constructor(vmId?: string) {
    this.#vmId = vmId;
  }

  get size(): number {
    return this.#entries.length;
  }

  push(name: string, undo: Undo): void {
    this.#entries.push({ name, undo });
  }

  /** Another sees to it all from now on. */
  forget(): void {
    this.#entries = [];
  }

  /**
   * Runs and forgets every undo.
   * @throws SmartVMError CLEANUP_FAILED when any of them threw; its cause is an AggregateError of all, in the order in which they ran
   */
  async unwind(): Promise<void> {
    const errors: Error[] = [];
    const begin = performance.now();
    for (let entry = this.#entries.pop(); entry; entry = this.#entries.pop()) {
      try {
        await this.#undo(entry, performance.now() - begin);
      } catch (cause) {
        errors.push(new Error(`undo of '${entry.name}' failed`, { cause }));
      }
    }
    if (errors.length > 0) {
      const what = errors.map(({ message, cause }) => `${message}: ${(cause as Error).message}`).join('; ');
      throw new SmartVMError('CLEANUP_FAILED', what, { cause: new AggregateError(errors) });
    }
  }

  async #undo({ name, undo }: Entry, startMs: number): Promise<void> {
    if (this.#vmId === undefined) {
      await undo();
      return;
    }
    await traced(CLEANUP_STEP, { id: this.#vmId, step: name, startMs }, async () => void (await undo()));
  }
}
