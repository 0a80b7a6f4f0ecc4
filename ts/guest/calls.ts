import { EventEmitter } from 'node:events';
import { SmartVMError } from '../errors.js';
import type { ExecOptions, OutputEncoding } from './exec-types.js';
import { Execution } from './execution.js';
import { GuestFiles } from './files/guest-files.js';
import { type GuestMetrics, metricsOf } from './metrics.js';
import { GuestProcesses } from './processes.js';
import type { Guest, GuestProcess, SpawnDetachedOptions, SpawnProcessOptions } from './types.js';

/** What a VM that runs can be asked to do in its guest. Every method rejects with INVALID_STATE, AGENT_UNREACHABLE or VMM_EXITED too. */
export abstract class GuestCalls<Events extends Record<keyof Events, unknown[]>> extends EventEmitter<Events> {
  /** The processes that `spawn()` has started, of this program and of others. */
  readonly processes = new GuestProcesses(() => this.guest());

  /** The guest's files, with the rights of its root. */
  readonly files = new GuestFiles(() => this.guest());

  /** @throws SmartVMError INVALID_STATE unless the VM runs; AGENT_UNREACHABLE, VMM_EXITED */
  protected abstract guest(): Promise<Guest>;

  /**
   * Runs a command in the guest. Awaited, it gives the collected output, and any exit code is a result; it can be iterated for its
   * events, and its `stdout` and `stderr` can be taken as streams.
   * @param command an argument vector; one string only with `{ shell: true }`
   * @throws ExecError EXEC_TIMEOUT, CANCELED, EXEC_OUTPUT_LIMIT, and with `reject` EXEC_FAILED; SmartVMError INVALID_OPTION, VMM_EXITED
   *   within a second when the VM ends meanwhile
   */
  exec<E extends OutputEncoding = 'utf8'>(
    command: string | readonly string[],
    options: ExecOptions<E> = {},
  ): Execution<E> {
    return new Execution(() => this.guest(), command, options);
  }

  /**
   * Starts a process in the guest: its number, streams, signals and exit. It ends with this program, unless it is `detached`.
   * @throws SmartVMError EXEC_FAILED when it cannot be executed, AGENT_TOO_OLD
   */
  async spawn(argv: readonly string[], options: SpawnProcessOptions = {}): Promise<GuestProcess> {
    return await (await this.guest()).spawn(argv, options);
  }

  /**
   * Starts a process in the guest that outlives this program and its connection, and that nobody reaches again; it has no standard input.
   * @throws SmartVMError EXEC_FAILED when it cannot be executed
   */
  async spawnDetached(argv: readonly string[], options: SpawnDetachedOptions = {}): Promise<void> {
    const letGo = await (await this.guest()).spawnDetached(argv, options);
    letGo();
  }

  /** How the guest fares, by its own account. @throws SmartVMError AGENT_TOO_OLD, AGENT_FAILED */
  async guestMetrics(): Promise<GuestMetrics> {
    return metricsOf(await (await this.guest()).control('metrics', {}, 2));
  }

  /** Sets the guest's clock. It is set when the VM starts and when it resumes. Default: the host's time. */
  async setClock(time: Date = new Date()): Promise<void> {
    const timeMs = time.getTime();
    if (!(timeMs > 0)) {
      throw new SmartVMError('INVALID_OPTION', 'the time of a clock is one after 1970');
    }
    await (await this.guest()).control('clock', { timeMs });
  }
}
