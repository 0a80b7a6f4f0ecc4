import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { HostPath } from '../config/host-paths.js';
import type { PublishedPort } from '../config/publish.js';
import { isSmartVMError, SmartVMError } from '../errors.js';
import { FirecrackerApi } from '../firecracker/api.js';
import type { ApiError } from '../firecracker/api-error.js';
import { SocketClient } from '../firecracker/socket-client.js';
import { delay, linkSignals, throwIfCanceled, withDeadline } from '../util/deadline.js';
import { endProcess } from '../util/end-process.js';
import { isAlive, type ProcessIdentity } from '../util/process-identity.js';
import { adoptKeeper } from './adopted-keeper.js';
import type { Confinement } from './confinement.js';
import { describeExit, readExit, type VmmExit } from './exit.js';
import { type Keeper, KILL_ORDER_MS } from './keeper.js';
import type { KeeperLife, KeeperWord } from './keeper-life.js';
import { consoleTailOf, withLastWords } from './last-words.js';
import { Launcher } from './launcher.js';
import { livingKeeper } from './living-keeper.js';
import { inNamespace } from './network-namespace.js';
import { type Publication, putPorts } from './published-ports.js';
import { type InstanceInfo, Readiness } from './readiness.js';
import type { VmRecord } from './registry/record.js';

export interface VmmProcessOptions {
  id: string;
  /** An executable that speaks the Firecracker API. */
  executable: string;
  /** Flags beside `--api-sock` and `--id`. */
  extraArgs?: readonly string[];
  /** Where the VMM puts its API socket. */
  socketPath: string;
  runtimeDir: string;
  /** The jail that it is shut in. Default: it has this program's rights and view of the host. */
  confinement?: Confinement | undefined;
  /** The path of a network namespace for one that is not jailed. Default: this program's. */
  networkNamespace?: string | undefined;
  /** One that was spawned ahead, whose end is its caller's to see to. */
  launcher?: Launcher | undefined;
}

export interface AttachOptions extends Pick<VmmProcessOptions, 'id' | 'socketPath' | 'runtimeDir'> {
  /** The uid that the VMM has to itself; undefined where it is not jailed. */
  jailUid: number | undefined;
  keeper?: ProcessIdentity | undefined; // where it is known
}

const EXIT_NEWS_MS = 500;
const LATE_NEWS_MS = 5_000; // of one known to be dead, on a busy host; nobody stays for it who has let go of the VM

/** A VMM under its keeper: its API, console, signals and exit. */
export class VmmProcess {
  readonly api: FirecrackerApi;
  /** Settles once, when the VMM has ended; never rejects. */
  readonly exited: Promise<VmmExit>;
  readonly #options: AttachOptions;
  readonly #keeper: Keeper;
  readonly #readiness: Readiness;
  #version = 'unknown';
  #exit: VmmExit | undefined;
  #exitError: SmartVMError | undefined;

  private constructor(options: AttachOptions, keeper: Keeper, api: FirecrackerApi, readiness: Readiness) {
    this.#options = options;
    this.#keeper = keeper;
    this.api = api;
    this.#readiness = readiness;
    this.exited = this.#watchExit();
  }

  /** @throws SmartVMError VMM_SPAWN_FAILED, KEEPER_FAILED, PACKAGE_DAMAGED, SOCKET_PATH_TOO_LONG */
  static async start(options: VmmProcessOptions): Promise<VmmProcess> {
    const { id, runtimeDir, socketPath, executable, confinement } = options;
    const api = new FirecrackerApi(new SocketClient({ socketPath })); // refuses a long path before anything runs
    const readiness = new Readiness(api);
    const launcher = options.launcher ?? (await Launcher.spawn());
    try {
      const flags = ['--api-sock', socketPath, '--id', id, ...(options.extraArgs ?? [])];
      const argv = confinement?.command(flags) ?? inNamespace(options.networkNamespace, executable, flags);
      const keeper = await launcher.start({ id, runtimeDir, argv, jail: confinement?.specPath });
      return new VmmProcess({ id, runtimeDir, socketPath, jailUid: confinement?.uid }, keeper, api, readiness);
    } catch (error) {
      readiness.end();
      await launcher.end();
      await api.client.destroy();
      throw error;
    }
  }

  /**
   * The VMM of a VM that another program has started.
   * @throws SmartVMError VM_NOT_FOUND when its keeper is gone, KEEPER_FAILED when that does not answer
   */
  static async attach(options: AttachOptions): Promise<VmmProcess> {
    const { id, runtimeDir, socketPath, keeper } = options;
    const state = await livingKeeper(id, runtimeDir, keeper);
    const api = new FirecrackerApi(new SocketClient({ socketPath }));
    return new VmmProcess(options, adoptKeeper(runtimeDir, state), api, new Readiness(api));
  }

  get pid(): number {
    return this.#keeper.vmm.pid;
  }

  get runtimeDir(): string {
    return this.#options.runtimeDir;
  }

  /** What it said when it was ready; `unknown` before. */
  get version(): string {
    return this.#version;
  }

  /** The uid that it has to itself; undefined where it is not jailed. */
  get uid(): number | undefined {
    return this.#options.jailUid;
  }

  get keeperPid(): number {
    return this.#keeper.process.pid;
  }

  /** What its keeper is told and tells of the VM's life. */
  get life(): KeeperLife {
    return this.#keeper.life;
  }

  /** Who keeper and VMM are, whatever becomes of their pids. */
  get processes(): NonNullable<VmRecord['processes']> {
    return { keeper: this.#keeper.process, vmm: this.#keeper.vmm };
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
   * Waits until the API answers a GET, and gives the answer.
   * @throws SmartVMError VMM_EXITED with the tail of its output, BOOT_TIMEOUT, CANCELED
   */
  async waitUntilReady(timeoutMs: number, signal: AbortSignal): Promise<InstanceInfo> {
    const decided = new AbortController();
    using waiting = linkSignals([signal, decided.signal]);
    const gone = this.exited.then(() => undefined);
    const info = await Promise.race([this.#readiness.info, gone, delay(timeoutMs, waiting.signal)]);
    decided.abort();
    if (info) {
      this.#version = info.vmm_version ?? 'unknown';
      return info;
    }
    this.#readiness.end();
    if (this.#exitError) {
      throw this.#exitError;
    }
    throwIfCanceled(signal, `the start of VM ${this.#options.id}`);
    throw await this.describe('BOOT_TIMEOUT', `its API did not answer within ${timeoutMs} ms`);
  }

  /** Has the keeper begin: it holds back until it is needed, for its beginning and the VMM's are in each other's way. */
  async reachKeeper(): Promise<void> {
    await this.#keeper.reach();
  }

  async signal(name: NodeJS.Signals): Promise<void> {
    await this.#keeper.reach();
    await this.#keeper.client.put('/signal', { signal: name });
  }

  /** Ends the VMM at once, by its keeper or, when that does not answer, with it. Waits for its end. */
  async kill(): Promise<void> {
    if (this.#exit === undefined) {
      const order = this.life.said.then(() => this.#keeper.kill());
      // A keeper may also stop answering between the order and the news of the end.
      const news = order.then(() => withDeadline(this.exited, KILL_ORDER_MS, () => new Error('no news of the end')));
      await news.catch(() => this.#keeper.end());
      await this.exited;
    }
  }

  /**
   * Lets a jailed VMM see more paths of the host, at the same places.
   * @throws SmartVMError JAIL_PATH_UNREADABLE
   */
  async expose(paths: readonly HostPath[]): Promise<void> {
    // Of one that does not exist, the VMM says so.
    for (const { path, access } of this.uid !== undefined ? paths.filter(({ path }) => existsSync(path)) : []) {
      await this.#changeMounts('PUT', { path: resolve(path), writable: access !== 'read' });
    }
  }

  /** Takes a path away that `expose` gave. What the VMM has open of it stays open. */
  async conceal(path: string): Promise<void> {
    if (this.uid !== undefined) {
      await this.#changeMounts('DELETE', { path: resolve(path) });
    }
  }

  /** Bytes for the guest's serial console. */
  async writeConsole(data: Uint8Array): Promise<void> {
    await this.#keeper.reach();
    await this.#keeper.console.put('/console', data);
  }

  /** The console from what is kept of its start, then live until the VMM ends. */
  async *console(signal?: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    await this.#keeper.reach();
    yield* this.#keeper.console.stream('/console?follow=true', signal);
  }

  async consoleTail(lines?: number): Promise<string[]> {
    return await consoleTailOf(this.#options.runtimeDir, lines);
  }

  /** Says that the VM's start is through, and makes it outlive this program. */
  async detach(word: KeeperWord): Promise<void> {
    await this.#keeper.detach(word);
  }

  /** Ends what this program has of it, and not the VMM: whether and how that ends, nobody is told here any more. */
  async release(): Promise<void> {
    this.#readiness.end();
    await this.life.said; // a pause that its keeper does not hear of is one that nobody sees
    this.#keeper.release();
    await this.#closeClients();
  }

  /** Ends the keeper, and with it a VMM that still runs, and waits for that. */
  async dispose(): Promise<void> {
    await this.kill();
    await this.#keeper.end();
    await this.#closeClients();
  }

  /** Has its keeper hold ports of the host, in place of those before. @throws SmartVMError those of `putPorts()` */
  async publish(publication: Publication): Promise<PublishedPort[]> {
    await this.#keeper.reach();
    return await putPorts(this.#keeper.client, publication);
  }

  async #closeClients(): Promise<void> {
    await Promise.all([this.api.client, this.#keeper.client, this.#keeper.console].map((client) => client.destroy()));
  }

  /** The reason behind an error: a call or a connection that broke because the VMM ended, failed for that reason. */
  async explain(error: unknown): Promise<unknown> {
    if (isSmartVMError(error, 'API_UNREACHABLE', 'AGENT_UNREACHABLE')) {
      // A broken socket is often the first sign of an exit, a moment before its parent hears of it.
      await withDeadline(this.exited, EXIT_NEWS_MS, () => new Error('it lives')).catch(() => undefined);
      const late = (await isAlive(this.#keeper.vmm)) ? 0 : LATE_NEWS_MS;
      await Promise.race([this.exited, setTimeout(late, undefined, { ref: false })]);
      return this.#exitError ?? error;
    }
    return error;
  }

  /** An error about this VMM, with the last lines of its output and of the guest's console. */
  async describe(
    code: 'BOOT_TIMEOUT' | 'INIT_FAILED' | 'READY_TIMEOUT',
    what: string,
    details?: object,
  ): Promise<SmartVMError> {
    await this.reachKeeper(); // which has its output
    return await withLastWords(this.#options, code, what, await this.consoleTail(), details);
  }

  async #changeMounts(method: 'PUT' | 'DELETE', mount: { path: string; writable?: boolean }): Promise<void> {
    try {
      await this.#keeper.reach();
      await this.#keeper.client.request(method, '/mounts', mount);
    } catch (cause) {
      const { faultMessage } = cause as ApiError;
      if (faultMessage === undefined) {
        throw cause;
      }
      throw new SmartVMError('JAIL_PATH_UNREADABLE', `VM ${this.#options.id}: ${faultMessage}`, { cause });
    }
  }

  async #watchExit(): Promise<VmmExit> {
    const exit = (await this.#keeper.ended) ?? (await readExit(this.#options.runtimeDir));
    if (exit.reason === 'keeper-lost') {
      // It dies with its keeper, a moment later; one that has changed its user has lost the kernel's order to.
      await endProcess(this.#keeper.vmm);
    }
    const consoleTail = await this.consoleTail();
    const how = describeExit(exit, consoleTail);
    this.#exitError = await withLastWords(this.#options, 'VMM_EXITED', how, consoleTail, { exit });
    this.#exit = exit;
    this.#readiness.end();
    return exit;
  }
}
