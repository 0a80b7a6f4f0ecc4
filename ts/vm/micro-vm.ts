import { EventEmitter } from 'node:events';
import type { IMicroVMConfig } from '../config/types.js';
import { VMConfig } from '../config/vm-config.js';
import { SmartVMError } from '../errors.js';
import type { components } from '../firecracker/generated.js';
import type { SocketClient } from '../firecracker/socket-client.js';
import type { ExecOptions, ExecResult, Guest, GuestProcess, SpawnOptions } from '../guest/types.js';
import { CleanupStack } from '../util/cleanup-stack.js';
import { linkSignals } from '../util/deadline.js';
import type { VmmExit } from '../vmm/exit.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
import { type BootContext, boot, type StepTiming } from './boot.js';
import { classifyExit } from './exit.js';
import { shutDown } from './shutdown.js';
import { isFinal, isPassing, StateMachine, type VmState } from './state.js';
import type { MicroVMEvents, MicroVMOptions, NetworkProvider, StartOptions, StopOptions, StopResult } from './types.js';

const DEFAULT_START_TIMEOUT_MS = 60_000;
const DEFAULT_GRACE_MS = 5_000;

/** One microVM: its configuration, its life (see `TRANSITIONS` and `BOOT`) and, while it runs, the way into its guest. */
export class MicroVM extends EventEmitter<MicroVMEvents> implements AsyncDisposable {
  readonly id: string;
  readonly config: VMConfig;
  readonly socketPath: string;
  readonly networkManager: NetworkProvider;
  /** When each step of the start ran. */
  readonly timings: StepTiming[] = [];
  readonly #binaryPath: string;
  readonly #options: MicroVMOptions;
  readonly #state: StateMachine;
  readonly #startAbort = new AbortController();
  #machine: BootContext | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<StopResult> | undefined;
  #ended: Promise<void> | undefined;
  #console: Promise<void> | undefined;
  /** The pause or resume under way; never rejects. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    id: string,
    config: IMicroVMConfig,
    binaryPath: string,
    socketPath: string,
    networkManager: NetworkProvider,
    options: MicroVMOptions = {},
  ) {
    super();
    this.id = id;
    this.config = new VMConfig(config);
    this.socketPath = socketPath;
    this.networkManager = networkManager;
    this.#binaryPath = binaryPath;
    this.#options = options;
    this.#state = new StateMachine(id, (state, previous) => this.emit('state', state, previous));
  }

  get state(): VmState {
    return this.#state.state;
  }

  /**
   * The VMM's API, for every verb that has no method here.
   * @throws SmartVMError NO_CLIENT before the start and after the end
   */
  get api(): SocketClient {
    return this.#process().api;
  }

  /** Process id of the VMM. @throws SmartVMError NO_CLIENT */
  get pid(): number {
    return this.#process().pid;
  }

  /**
   * Boots the VM, up to a guest that answers where the agent's keys were given. On failure everything made is undone.
   * @throws SmartVMError INVALID_CONFIG, INVALID_STATE, BOOT_TIMEOUT, VMM_EXITED, VMM_SPAWN_FAILED, API_REFUSED, CANCELED …
   */
  async start(options: StartOptions = {}): Promise<void> {
    this.#state.assert('start()', 'created');
    this.config.assertValid();
    this.#state.to('starting');
    this.#starting = this.#start(options);
    await this.#starting;
  }

  async pause(): Promise<void> {
    this.#state.assert('pause()', 'running');
    await this.#patchState('pausing', 'Paused', 'paused');
  }

  async resume(): Promise<void> {
    this.#state.assert('resume()', 'paused');
    await this.#patchState('resuming', 'Resumed', 'running');
  }

  /**
   * Ends the VM: guest shutdown, Ctrl-Alt-Del, SIGTERM, SIGKILL, until one works. Ends a start that is under way.
   * Resolves when everything that the VM held on the host is released; calling it again joins or repeats the answer.
   */
  stop(options: StopOptions = {}): Promise<StopResult> {
    if (options.force && this.#stopping) {
      void this.#machine?.process?.kill(); // hurries the stop that is under way
    }
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  /** `stop({ force: true })`: what a VM leaves behind of itself goes with it, so an orderly end buys nothing. */
  async cleanup(): Promise<void> {
    await this.stop({ force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cleanup();
  }

  /** The VMM's own account of the instance. @throws SmartVMError NO_CLIENT, ApiError */
  async getInfo(): Promise<components['schemas']['InstanceInfo']> {
    return await this.api.get('/');
  }

  /**
   * Runs a command in the guest and collects its output. Any exit code is a result.
   * @param command an argument vector; one string only with `{ shell: true }`
   * @throws SmartVMError EXEC_TIMEOUT, CANCELED, EXEC_OUTPUT_LIMIT; VMM_EXITED within a second when the VM ends meanwhile
   */
  async exec(command: string | readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return await this.#guest().exec(command, options);
  }

  /** Starts a process in the guest: its streams, signals and exit. */
  async spawn(argv: readonly string[], options: SpawnOptions = {}): Promise<GuestProcess> {
    return await this.#guest().spawn(argv, options);
  }

  /** Bytes for the guest's serial console. */
  async writeConsole(data: string | Uint8Array): Promise<void> {
    await this.#process().writeConsole(Buffer.from(data as Uint8Array));
  }

  /** The last lines of the serial console. */
  async consoleTail(lines?: number): Promise<string[]> {
    return await this.#process().consoleTail(lines);
  }

  async #start(options: StartOptions): Promise<void> {
    using linked = linkSignals([this.#startAbort.signal, options.signal]);
    const context: BootContext = {
      id: this.id,
      config: this.config,
      executable: this.#binaryPath,
      extraArgs: this.#options.extraArgs ?? [],
      socketPath: this.socketPath,
      runtimeDir: this.#options.runtimeDir ?? `${this.socketPath}.d`,
      detached: this.#options.detached ?? false,
      prepare: this.#options.prepare,
      signal: linked.signal,
      deadline: Date.now() + (options.timeoutMs ?? DEFAULT_START_TIMEOUT_MS),
      cleanup: new CleanupStack(),
      onVmm: (vmm) => {
        this.#console = this.#pumpConsole(vmm);
      },
    };
    try {
      await boot(context, this.timings);
    } catch (error) {
      this.#state.to(this.#startAbort.signal.aborted ? 'stopped' : 'failed');
      throw error;
    }
    this.#machine = context;
    this.#state.to('running');
    this.#ended = context.process?.exited.then((exit) => this.#finish(exit));
    this.#ended?.catch(() => undefined); // stop() reports it
  }

  async #stop(options: StopOptions): Promise<StopResult> {
    this.#startAbort.abort();
    if (this.state === 'created') {
      this.#state.to('stopped');
    }
    await Promise.resolve(); // called by a listener of 'starting', this runs before start() has returned its promise
    await this.#starting?.catch(() => undefined); // start() reports it
    while (!options.force && isPassing(this.state)) {
      await this.#queue;
    }
    if (isFinal(this.state) || !this.#machine?.process || this.#machine.process.exit) {
      await this.#ended;
      return { rung: 'none' };
    }
    const machine = { process: this.#machine.process, guest: this.#machine.guest, paused: this.state === 'paused' };
    this.#state.to('stopping');
    const rung = await shutDown(machine, options.graceMs ?? DEFAULT_GRACE_MS, options.force ? 'SIGKILL' : 'guest');
    await this.#ended;
    return { rung };
  }

  /** The VMM has ended, asked or not: whoever waits for the guest is told, and all that the VM held is released. */
  async #finish(vmmExit: VmmExit): Promise<void> {
    const machine = this.#machine;
    const exit = classifyExit(vmmExit, machine?.process?.exitError, this.#stopping !== undefined);
    machine?.guest?.close(machine.process?.exitError);
    await this.#console; // its last bytes come before 'exit'
    try {
      await machine?.cleanup.unwind();
    } finally {
      this.#state.to(exit.orderly ? 'stopped' : 'failed');
      this.emit('exit', exit);
    }
  }

  /** Pause and resume, one at a time: the state in between is left on success and on failure alike. */
  async #patchState(during: VmState, state: 'Paused' | 'Resumed', after: VmState): Promise<void> {
    const before = this.state;
    const vmm = this.#process();
    this.#state.to(during);
    const call = vmm.api.patch('/vm', { state }).then(
      () => after,
      (error) => ({ error }),
    );
    this.#queue = call;
    const result = await call;
    if (this.state === during) {
      this.#state.to(typeof result === 'string' ? result : before);
    }
    if (typeof result !== 'string') {
      throw await vmm.explain(result.error);
    }
  }

  async #pumpConsole(vmm: VmmProcess): Promise<void> {
    if (this.listenerCount('console') === 0) {
      return;
    }
    try {
      for await (const chunk of vmm.console()) {
        this.emit('console', chunk);
      }
    } catch {
      // The keeper is gone, and the console with it: 'exit' says so.
    }
  }

  #guest(): Guest {
    this.#state.assert('running a command', 'running');
    if (!this.#machine?.guest) {
      throw new SmartVMError('AGENT_UNREACHABLE', `VM ${this.id} was started without SmartVM's agent`);
    }
    return this.#machine.guest;
  }

  #process(): VmmProcess {
    const vmm = this.#machine?.process;
    if (!vmm || vmm.exit) {
      throw new SmartVMError('NO_CLIENT', `VM ${this.id} is ${this.state}: it has no VMM to call`, {
        details: { id: this.id, state: this.state },
      });
    }
    return vmm;
  }
}
