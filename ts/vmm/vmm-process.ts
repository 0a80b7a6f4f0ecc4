import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isSmartVMError, SmartVMError } from '../errors.js';
import { FirecrackerApi } from '../firecracker/api.js';
import { SocketClient } from '../firecracker/socket-client.js';
import { delay, throwIfCanceled, withDeadline } from '../util/deadline.js';
import { isAlive, type ProcessIdentity } from '../util/process-identity.js';
import { assertSocketPath } from '../util/socket-path.js';
import { describeExit, readExit, type VmmExit } from './exit.js';
import { type Keeper, startKeeper } from './keeper.js';
import { tailLines } from './tail.js';

export interface VmmProcessOptions {
  id: string;
  /** An executable that speaks the Firecracker API. */
  executable: string;
  /** Flags beside `--api-sock` and `--id`. */
  extraArgs?: readonly string[];
  /** Where the VMM puts its API socket. */
  socketPath: string;
  runtimeDir: string;
  detached?: boolean | undefined;
}

const POLL_MS = 1;
const EXIT_NEWS_MS = 500;
const KILL_ORDER_MS = 2_000;
const CONSOLE_TAIL_LINES = 50;

/** A VMM under its keeper: its API, console, signals and exit. */
export class VmmProcess {
  readonly api: FirecrackerApi;
  /** Settles once, when the VMM has ended; never rejects. */
  readonly exited: Promise<VmmExit>;
  readonly #options: VmmProcessOptions;
  readonly #keeper: Keeper;
  #version = 'unknown';
  #exit: VmmExit | undefined;
  #exitError: SmartVMError | undefined;

  private constructor(options: VmmProcessOptions, keeper: Keeper) {
    this.#options = options;
    this.#keeper = keeper;
    this.api = new FirecrackerApi(new SocketClient({ socketPath: options.socketPath }));
    this.exited = this.#watchExit();
  }

  /** @throws SmartVMError VMM_SPAWN_FAILED, KEEPER_FAILED, PACKAGE_DAMAGED, SOCKET_PATH_TOO_LONG */
  static async start(options: VmmProcessOptions): Promise<VmmProcess> {
    assertSocketPath(options.socketPath); // before anything runs
    const flags = ['--api-sock', options.socketPath, '--id', options.id, ...(options.extraArgs ?? [])];
    const { id, runtimeDir, detached } = options;
    const keeper = await startKeeper({ id, runtimeDir, detached, command: [options.executable, ...flags] });
    return new VmmProcess(options, keeper);
  }

  get pid(): number {
    return this.#keeper.vmm.pid;
  }

  /** What it said when it was ready; `unknown` before. */
  get version(): string {
    return this.#version;
  }

  get keeperPid(): number {
    return this.#keeper.keeperPid;
  }

  /** How it ended; undefined while it lives. */
  get exit(): VmmExit | undefined {
    return this.#exit;
  }

  /** VMM_EXITED with the tail of its output, kept when its files are gone; undefined while it lives. */
  get exitError(): SmartVMError | undefined {
    return this.#exitError;
  }

  /**
   * Waits until the API answers a GET.
   * @throws SmartVMError VMM_EXITED with the tail of its output, BOOT_TIMEOUT, CANCELED
   */
  async waitUntilReady(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (this.#exit === undefined) {
      throwIfCanceled(signal, `the start of VM ${this.#options.id}`);
      if (existsSync(this.#options.socketPath) && (await this.#answers(deadline, signal))) {
        return;
      }
      if (performance.now() >= deadline) {
        throw await this.describe('BOOT_TIMEOUT', `its API did not answer within ${timeoutMs} ms`);
      }
      await delay(POLL_MS, signal);
    }
    throw this.#exitError;
  }

  async signal(name: NodeJS.Signals): Promise<void> {
    await this.#keeper.client.put('/signal', { signal: name });
  }

  /** Ends the VMM at once, by its keeper or, when that does not answer, with it. Waits for its end. */
  async kill(): Promise<void> {
    if (this.#exit === undefined) {
      const order = this.#keeper.client.put('/signal', { signal: 'SIGKILL' }, { timeoutMs: KILL_ORDER_MS });
      // A keeper may also stop answering between the order and the news of the end.
      const news = order.then(() => withDeadline(this.exited, KILL_ORDER_MS, () => new Error('no news of the end')));
      await news.catch(() => this.#keeper.end());
      await this.exited;
    }
  }

  /** Bytes for the guest's serial console. */
  async writeConsole(data: Uint8Array): Promise<void> {
    await this.#keeper.console.put('/console', data);
  }

  /** The console from what is kept of its start, then live until the VMM ends. */
  console(signal?: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    return this.#keeper.console.stream('/console?follow=true', signal);
  }

  async consoleTail(lines = CONSOLE_TAIL_LINES): Promise<string[]> {
    const path = join(this.#options.runtimeDir, 'console.log');
    const tail = await tailLines(path, lines);
    const earlier = tail.length < lines ? await tailLines(`${path}.1`, lines - tail.length) : [];
    return [...earlier, ...tail];
  }

  /** Ends the keeper, and with it a VMM that still runs, and waits for that. */
  async dispose(): Promise<void> {
    await this.kill();
    await this.#keeper.end();
    await Promise.all([this.api.client, this.#keeper.client, this.#keeper.console].map((client) => client.destroy()));
  }

  /** The reason behind an error: a call or a connection that broke because the VMM ended, failed for that reason. */
  async explain(error: unknown): Promise<unknown> {
    if (isSmartVMError(error, 'API_UNREACHABLE', 'AGENT_UNREACHABLE')) {
      // A broken socket is often the first sign of an exit, a moment before its parent hears of it.
      await withDeadline(this.exited, EXIT_NEWS_MS, () => new Error('it lives')).catch(() => undefined);
      return this.#exitError ?? error;
    }
    return error;
  }

  /** An error about this VMM, with the last lines of its output and of the guest's console. */
  async describe(code: 'BOOT_TIMEOUT', what: string): Promise<SmartVMError> {
    return await this.#describe(code, what, await this.consoleTail());
  }

  async #describe(
    code: 'VMM_EXITED' | 'BOOT_TIMEOUT',
    what: string,
    consoleTail: readonly string[],
    details: object = {},
  ): Promise<SmartVMError> {
    const vmmTail = await tailLines(join(this.#options.runtimeDir, 'vmm.log'), CONSOLE_TAIL_LINES);
    const lines = [...vmmTail.slice(-10), ...(consoleTail.length > 0 ? ['console:', ...consoleTail] : [])];
    const said = lines.length > 0 ? `\n${lines.map((line) => `  ${line}`).join('\n')}` : '; it printed nothing';
    return new SmartVMError(code, `VMM of ${this.#options.id}: ${what}${said}`, {
      details: { id: this.#options.id, consoleTail, vmmTail, ...details },
    });
  }

  async #answers(deadline: number, signal: AbortSignal): Promise<boolean> {
    try {
      const options = { timeoutMs: Math.max(1, deadline - performance.now()), signal };
      this.#version = (await this.api.describeInstance(options)).vmm_version;
      return true;
    } catch {
      return false;
    }
  }

  async #watchExit(): Promise<VmmExit> {
    await this.#keeper.ended;
    const exit = await readExit(this.#options.runtimeDir);
    if (exit.reason === 'keeper-lost') {
      await endOrphan(this.#keeper.vmm);
    }
    const consoleTail = await this.consoleTail();
    this.#exitError = await this.#describe('VMM_EXITED', describeExit(exit, consoleTail), consoleTail, { exit });
    this.#exit = exit;
    return exit;
  }
}

/** A VMM dies with its keeper, a moment later; one that has changed its user has lost the kernel's order to. */
async function endOrphan(vmm: ProcessIdentity): Promise<void> {
  while (await isAlive(vmm)) {
    process.kill(vmm.pid, 'SIGKILL');
    await delay(POLL_MS);
  }
}
