import { assertQueueMs } from '../config/capacity.js';
import type { ImageConfig } from '../config/image-config.js';
import type { IMicroVMConfig, IRestoredMicroVMConfig } from '../config/types.js';
import { type SnapshotOptions, snapshotPayload } from '../config/updates.js';
import { VMConfig } from '../config/vm-config.js';
import { SmartVMError } from '../errors.js';
import type { Guest } from '../guest/types.js';
import { linkSignals, withDeadline } from '../util/deadline.js';
import type { VmmExit } from '../vmm/exit.js';
import type { KeeperEvent } from '../vmm/keeper-events.js';
import type { Telemetry } from '../vmm/telemetry.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
import { boot } from './boot.js';
import { type BootContext, bootContext, startedState } from './boot-context.js';
import { Calls } from './calls.js';
import { pumpConsole } from './console.js';
import { classifyExit, type VmExit } from './exit.js';
import type { GuestLink } from './guest-link.js';
import { keepsLayer } from './layer.js';
import { assertStartable } from './options.js';
import { followOthers, pauseVm, resumeVm, snapshotVm } from './power.js';
import { linkTo } from './renumbering.js';
import { RunningVM, type VmCall } from './running-vm.js';
import { GRACE_MS, shutDown } from './shutdown.js';
import { isFinal, StateMachine, type VmState } from './state.js';
import type { StepTiming } from './step-log.js';
import { tell } from './tell.js';
import type { MicroVMOptions, NetworkProvider, StartOptions, StopOptions, StopResult } from './types.js';
import { VmNetwork } from './vm-network.js';
import { refuseWithoutAgent } from './without-agent.js';

const DEFAULT_START_TIMEOUT_MS = 60_000;

/** One microVM: its configuration, its life (see `TRANSITIONS` and `BOOT`) and, while it runs, the way into its guest. */
export class MicroVM extends RunningVM implements AsyncDisposable {
  readonly id: string;
  readonly config: VMConfig;
  readonly socketPath: string;
  readonly networkManager: NetworkProvider;
  /** What it has of the networks of this host. */
  readonly network: VmNetwork;
  /** When each step of the start ran. */
  readonly timings: StepTiming[] = [];
  readonly #binaryPath: string;
  readonly #options: MicroVMOptions;
  readonly #state: StateMachine;
  readonly #startAbort = new AbortController();
  #machine: BootContext | undefined;
  #link: GuestLink | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<StopResult> | undefined;
  #ended: Promise<void> | undefined;
  #console: Promise<void> | undefined;
  #exit: VmExit | undefined;
  readonly #calls: Calls;

  constructor(
    id: string,
    config: IMicroVMConfig | IRestoredMicroVMConfig,
    binaryPath: string,
    socketPath: string,
    networkManager: NetworkProvider,
    options: MicroVMOptions = {},
  ) {
    super();
    this.id = id;
    this.config = new VMConfig(config, (options.attach?.record.restored ?? options.restore) ? 'snapshot' : 'boot');
    this.socketPath = socketPath;
    this.networkManager = networkManager;
    this.network = new VmNetwork(id, options.networkAccess, (ports) => this.vmm().publish(ports));
    this.#binaryPath = binaryPath;
    this.#options = options;
    this.#state = new StateMachine(id, (state, previous) => tell(this, 'state', state, previous));
    this.#calls = new Calls({
      id,
      state: this.#state,
      isStopping: () => this.#stopping !== undefined,
      process: () => this.vmm(),
    });
  }

  get imageConfig(): ImageConfig | undefined {
    return this.#options.attach?.record.imageConfig ?? this.#options.imageConfig;
  }

  get state(): VmState {
    return this.#state.state;
  }

  /** How it ended, having run; undefined before. */
  get exit(): VmExit | undefined {
    return this.#exit;
  }

  /**
   * Boots the VM, up to a guest that answers where the agent's keys were given. On failure everything made is undone.
   * @throws SmartVMError INVALID_CONFIG, INVALID_STATE, INVALID_OPTION, MEMORY_EXCEEDED, CAPACITY_EXCEEDED, NAME_TAKEN, BOOT_TIMEOUT,
   *   VMM_EXITED, VMM_SPAWN_FAILED, API_REFUSED, CANCELED …
   */
  async start(options: StartOptions = {}): Promise<void> {
    this.#state.assert('start()', 'created');
    assertQueueMs(options.queueMs);
    this.assertValid();
    this.#state.to('starting', this.#options.attach ? 'attach' : 'start');
    this.#starting = this.#start(options);
    await this.#starting;
  }

  /** @throws SmartVMError INVALID_CONFIG, INVALID_OPTION with all that the start would refuse without looking at the host */
  assertValid(): void {
    assertStartable(this.config, this.#options);
  }

  async pause(): Promise<void> {
    await this.#calls.run('pause()', ['running'], pauseVm);
  }

  /** The guest's clock is then the host's, if its agent answers within a second; one restored paused gets its own addresses. */
  async resume(): Promise<void> {
    await this.#calls.run('resume()', ['paused'], resumeVm);
    await this.#link?.wake();
  }

  /**
   * Writes the VM into two files, from which others can start (`restore`). A VM that runs is paused meanwhile. The guest's
   * connections over vsock do not survive it; SmartVM makes its own anew. The drives are not in it: those that `launch()` makes go
   * with their VM, and have to be copied by whoever wants to start others from it.
   */
  async createSnapshot(options: SnapshotOptions): Promise<void> {
    snapshotPayload(options); // says what is wrong with it before anything stops
    await this.#calls.run('createSnapshot()', ['running', 'paused'], (vm) => snapshotVm(vm, options));
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

  /** `stop({ force: true })`, for an orderly end buys nothing where all goes with the VM; `stop()` where its layer is kept. */
  async cleanup(): Promise<void> {
    await this.stop({ force: !keepsLayer(this.#options) });
  }

  /** Whether the VM lives on without this: it was started with `detached`, or attached to. */
  get outlives(): boolean {
    return (this.#options.detached ?? false) || this.#options.attach !== undefined;
  }

  /**
   * Lets go of a VM that outlives this: it lives on, and any program can attach to it.
   * @throws SmartVMError INVALID_STATE for one that goes with this program, or neither runs nor is paused
   */
  async release(): Promise<void> {
    this.#state.assert('release()', 'running', 'paused');
    const machine = this.#machine;
    if (!this.outlives) {
      throw new SmartVMError('INVALID_STATE', `VM ${this.id} goes with this program: start it with \`detached: true\``);
    }
    this.#machine = undefined;
    this.#ended = undefined;
    this.#link?.close();
    machine?.telemetry?.close();
    await machine?.process?.release();
    tell(this, 'released');
  }

  /** Lets go of a VM that outlives this, also in the middle of a call, and ends a start that is not through; ends any other VM. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.outlives || this.state === 'created') {
      await this.cleanup();
      return;
    }
    this.#startAbort.abort();
    await Promise.allSettled([this.#starting, this.#calls.idle, this.#stopping]); // whoever made them is told
    if (this.#machine && !isFinal(this.state)) {
      await this.release();
    }
  }

  async #start(options: StartOptions): Promise<void> {
    using linked = linkSignals([this.#startAbort.signal, options.signal]);
    const context = bootContext(this, this.#binaryPath, this.#options, {
      signal: linked.signal,
      queueMs: options.queueMs ?? 0,
      deadline: performance.now() + (options.timeoutMs ?? DEFAULT_START_TIMEOUT_MS),
      onVmm: (vmm) => {
        this.#console = pumpConsole(vmm, this);
      },
    });
    try {
      await boot(context, this.timings);
    } catch (error) {
      const { aborted } = this.#startAbort.signal;
      aborted ? this.#state.to('stopped', 'stop') : this.#state.to('failed', (error as SmartVMError).code);
      throw error;
    }
    this.#machine = context;
    const expectsAnswer = () => this.state === 'running' && !this.#stopping;
    this.#link = linkTo(context, { expectsAnswer, goneAfterMs: this.#options.guestGoneAfterMs });
    this.#state.to(startedState(context), context.attach ? 'attach' : 'start');
    context.process?.life.listen((event) => this.#hear(event));
    this.#ended = context.process?.exited.then((exit) => this.#finish(exit));
    this.#ended?.catch(() => undefined); // stop() reports it
  }

  async #stop(options: StopOptions): Promise<StopResult> {
    this.#startAbort.abort();
    if (this.state === 'created') {
      this.#state.to('stopped', 'stop');
    }
    await Promise.resolve(); // called by a listener of 'starting', this runs before start() has returned its promise
    await this.#starting?.catch(() => undefined); // start() reports it
    const { graceMs } = options;
    if (!options.force) {
      // A VMM that hangs may not end the call under way; those behind it are refused by now.
      await withDeadline(this.#calls.idle, graceMs ?? GRACE_MS, () => new Error('busy')).catch(() => undefined);
    }
    if (!isFinal(this.state) && !this.#machine) {
      this.vmm(); // says that there is none: this has let go of it
    }
    if (isFinal(this.state) || !this.#machine?.process || this.#machine.process.exit) {
      await this.#ended;
      return { rung: 'none' };
    }
    const machine = { process: this.#machine.process, guest: this.#link?.current, paused: this.state !== 'running' };
    this.#state.to('stopping', 'stop');
    machine.process.life.tellFast({ state: 'stopping' });
    const rung = await shutDown(machine, graceMs, options.force ? 'SIGKILL' : 'guest');
    await this.#ended;
    return { rung };
  }

  /** The VMM has ended, asked or not: whoever waits for the guest is told, and all that the VM held is released. */
  async #finish(vmmExit: VmmExit): Promise<void> {
    const machine = this.#machine;
    if (!machine) {
      return; // this has let go of it
    }
    const exit = classifyExit(vmmExit, machine.process?.exitError, {
      stopping: this.#stopping !== undefined,
      guestShutDown: this.#link?.hasShutDown ?? false,
    });
    this.#link?.close(machine.process?.exitError);
    await this.#console; // its last bytes come before 'exit'
    try {
      await machine.cleanup.unwind();
    } finally {
      this.#state.to(exit.orderly ? 'stopped' : 'failed', exit.reason);
      this.#exit = exit;
      tell(this, 'exit', exit);
    }
  }

  /** What the keeper says of the VM. Another may have paused or resumed it. */
  #hear({ state }: KeeperEvent): void {
    if (state !== undefined && state !== this.state) {
      // Behind the calls under way. One that is being stopped, or has ended, follows nobody.
      this.#calls.run('', ['running', 'paused'], followOthers).catch(() => undefined);
    }
  }

  protected async call<T>(call: VmCall<T>): Promise<T> {
    return await this.#calls.api(call);
  }

  protected async guest(): Promise<Guest> {
    this.#state.assert('reaching the guest', 'running');
    return await (this.#link ?? refuseWithoutAgent(this.id)).guest();
  }

  protected telemetry(): Telemetry {
    const { telemetry } = this.#machine ?? {};
    if (!telemetry) {
      throw new SmartVMError('NO_CLIENT', `VM ${this.id} is ${this.state}: nothing has been logged`);
    }
    return telemetry;
  }

  protected vmm(): VmmProcess {
    const vmm = this.#machine?.process;
    if (!vmm || vmm.exit) {
      throw new SmartVMError('NO_CLIENT', `VM ${this.id} is ${this.state}: it has no VMM to call`, {
        details: { id: this.id, state: this.state },
      });
    }
    return vmm;
  }
}
