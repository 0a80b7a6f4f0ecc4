import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { SmartVMError } from '../errors.js';
import type { ExecOptions, OutputEncoding } from './exec-types.js';
import { Execution } from './execution.js';
import { GuestFiles } from './files/guest-files.js';
import { type GuestMetrics, metricsOf } from './metrics.js';
import type { GuestAddress } from './ports/address.js';
import type { ForwardedPort, ForwardPortOptions } from './ports/forward.js';
import { GuestPorts } from './ports/guest-ports.js';
import type { WaitForPortOptions } from './ports/wait.js';
import { GuestProcesses } from './processes.js';
import { assertWait, type ReadySource, type Wait, type WaitUntilOptions, waitUntilReady } from './ready/ready.js';
import { type OpenPtyOptions, terminalOf } from './terminal.js';
import type { Guest, GuestProcess, SpawnDetachedOptions, SpawnProcessOptions } from './types.js';

/**
 * What a VM that runs can be asked to do in its guest. Every method rejects with INVALID_STATE, AGENT_MISSING, AGENT_UNREACHABLE or
 * VMM_EXITED too.
 */
export abstract class GuestCalls<Events extends Record<keyof Events, unknown[]>> extends EventEmitter<Events> {
  /** The processes that `spawn()` has started, of this program and of others. */
  readonly processes = new GuestProcesses(() => this.guest());

  /** The guest's files, with the rights of its root. */
  readonly files = new GuestFiles(() => this.guest());

  readonly #ports = new GuestPorts(() => this.guest(), this as EventEmitter);

  /** @throws SmartVMError INVALID_STATE unless the VM runs; AGENT_MISSING, AGENT_UNREACHABLE, VMM_EXITED */
  protected abstract guest(): Promise<Guest>;

  /** @throws SmartVMError NO_CLIENT before the start and after the end */
  protected abstract readySource(): ReadySource;

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

  /**
   * Starts a process on a terminal of its own: what it writes is in `stdout`, keys go to `stdin`, and `resize()` tells it of a new size.
   * It ends with this program, unless it is `detached`.
   * @throws SmartVMError EXEC_FAILED when it cannot be executed, INVALID_OPTION
   */
  async openPty(options: OpenPtyOptions = {}): Promise<GuestProcess> {
    const { command, cols: _cols, rows: _rows, term: _term, ...spawn } = options;
    const terminal = terminalOf(options);
    const child = await (await this.guest()).openTerminal(command, terminal, spawn);
    child.stderr.resume(); // there is none
    return child;
  }

  /**
   * Connects to a TCP port of the guest, on its loopback unless a host is named, or to a Unix socket; the guest needs no network.
   * @param address a number is a port
   * @throws SmartVMError PORT_UNREACHABLE when nobody listens there, INVALID_OPTION
   */
  async connectPort(address: number | GuestAddress): Promise<Duplex> {
    return await this.#ports.connect(address);
  }

  /**
   * Waits until somebody in the guest listens at a port or Unix socket.
   * @throws SmartVMError PORT_UNREACHABLE when nobody does in time, INVALID_OPTION, CANCELED
   */
  async waitForPort(address: number | GuestAddress, options: WaitForPortOptions = {}): Promise<void> {
    await this.#ports.waitFor(address, options);
  }

  /**
   * Waits until something has come to pass in the guest: `vm.waitUntil(ready.port(8080))`. What there is to wait for, the functions of
   * `ready` make.
   * @throws SmartVMError READY_TIMEOUT, which names the waits that failed and what they saw last; CANCELED, INVALID_OPTION, NO_CLIENT
   */
  async waitUntil(wait: Wait, options: WaitUntilOptions = {}): Promise<void> {
    assertWait(wait, options);
    await waitUntilReady(wait, this.readySource(), options);
  }

  /**
   * Makes a port or Unix socket of the guest one of the host, or with `reverse` one of the host one of the guest. It lasts until it is
   * closed, or the VM ends or is let go of.
   * @throws SmartVMError PORT_TAKEN, INVALID_OPTION; AGENT_FAILED when the guest does not let itself be listened at
   */
  async forwardPort(options: ForwardPortOptions): Promise<ForwardedPort> {
    return await this.#ports.forward(options);
  }

  /**
   * Where this program reaches a server in the guest: `http://127.0.0.1:<a port of the host>`, for as long as it has the VM.
   * @param guestPort 1 to 65535
   * @throws SmartVMError INVALID_OPTION
   */
  async url(guestPort: number, { protocol = 'http' }: { readonly protocol?: string } = {}): Promise<string> {
    return `${protocol}://127.0.0.1:${await this.#ports.hostPortOf(guestPort)}`;
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
