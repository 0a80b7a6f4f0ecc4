import type { ClientChannel } from 'ssh2';
import { SmartVMError } from '../errors.js';
import { SshProcess } from './process.js';
import { notFound, readJoined, readStarted } from './process-info.js';
import { assertStarted, startedLine } from './started.js';
import type { GuestProcess } from './types.js';

/** A process that others can reach, behind an SSH channel. */
export class SpawnedProcess extends SshProcess implements GuestProcess {
  #pid = 0;
  #detached = false;
  #dropped = 0;

  /**
   * The process that a session has started.
   * @throws SmartVMError EXEC_FAILED
   */
  static async started(
    channel: ClientChannel,
    loss: () => Promise<unknown>,
    argv: readonly string[],
    detached: boolean,
  ): Promise<SpawnedProcess> {
    const child = new SpawnedProcess(channel, loss);
    const { pid } = child.#read(await assertStarted(argv, child), readStarted);
    child.#pid = pid;
    child.#detached = detached;
    return child;
  }

  /**
   * The process that a session has joined.
   * @throws SmartVMError PROCESS_NOT_FOUND
   */
  static async joined(channel: ClientChannel, loss: () => Promise<unknown>, pid: number): Promise<SpawnedProcess> {
    const child = new SpawnedProcess(channel, loss);
    const line = await startedLine(child);
    if (typeof line !== 'string') {
      throw notFound(pid);
    }
    const { dropped = 0 } = child.#read(line, readJoined);
    child.#pid = pid;
    child.#detached = true; // of whoever has joined it, it is independent
    child.#dropped = dropped;
    return child;
  }

  get pid(): number {
    return this.#pid;
  }

  get detached(): boolean {
    return this.#detached;
  }

  get dropped(): number {
    return this.#dropped;
  }

  release(): void {
    if (!this.#detached) {
      throw new SmartVMError(
        'INVALID_STATE',
        `process ${this.#pid} ends with this program: spawn it with \`detached: true\``,
      );
    }
    super.destroy();
  }

  override destroy(): void {
    this.kill('SIGKILL');
    super.destroy();
  }

  /** Ends one of which the agent says what nobody can read. */
  #read<T>(line: string, read: (line: string) => T): T {
    try {
      return read(line);
    } catch (error) {
      this.destroy();
      throw error;
    }
  }
}
