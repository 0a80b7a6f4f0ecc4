import { isRecord } from '../config/validation/checks.js';
import { SmartVMError } from '../errors.js';
import { notFound, type ProcessInfo, processesOf } from './process-info.js';
import type { Guest, GuestProcess } from './types.js';

/** The processes in a guest that were started by `spawn()`, whichever program called it. */
export class GuestProcesses {
  readonly #guest: () => Promise<Guest>;

  constructor(guest: () => Promise<Guest>) {
    this.#guest = guest;
  }

  /** Those that run, and the last 32 that have ended of those that were detached. @throws SmartVMError AGENT_FAILED, AGENT_TOO_OLD */
  async list(): Promise<ProcessInfo[]> {
    return processesOf(await (await this.#guest()).control('processes', {}, 2));
  }

  /**
   * Joins one: first comes what is kept of its output, its last 256 KiB, then what it writes. Several programs can; while they do, the
   * slowest reader holds the process up. One that has ended says how.
   * @throws SmartVMError PROCESS_NOT_FOUND, AGENT_TOO_OLD
   */
  async connect(pid: number): Promise<GuestProcess> {
    return await (await this.#guest()).connect(assertPid(pid));
  }

  /**
   * Signals a process's whole group, by any signal that Linux has. Default SIGTERM.
   * @throws SmartVMError PROCESS_NOT_FOUND when it does not run; AGENT_FAILED for a signal that Linux does not have
   */
  async kill(pid: number, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const guest = await this.#guest();
    const request = { pid: assertPid(pid), signal: signal.replace(/^SIG/, '') };
    const answer = await guest.control('signal', request, 2);
    if (!isRecord(answer) || answer.signaled !== true) {
      throw notFound(pid);
    }
  }
}

function assertPid(pid: number): number {
  if (!Number.isInteger(pid) || pid < 1) {
    throw new SmartVMError('INVALID_OPTION', `a process has a whole number of at least 1, not ${pid}`);
  }
  return pid;
}
