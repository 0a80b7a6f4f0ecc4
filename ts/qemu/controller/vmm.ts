import { type Answer, dispatch, type Handlers, type VmmAction } from '../api/actions.js';
import { Fault } from '../fault.js';
import type { Machine, MachineEnd } from '../machine/machine.js';
import { VmResources } from '../resources/resources.js';
import type { GuestMemory } from '../snapshot/memory.js';
import { Logger, VMM_SOURCE } from '../telemetry/logger.js';
import { Metrics } from '../telemetry/metrics.js';
import { prebootHandlers } from './preboot.js';

/** The version of Firecracker whose API this is; spec/firecracker.yaml has the same. */
export const API_VERSION = '1.17.0-dev';

const DEFAULT_MMDS_LIMIT_BYTES = 51_200;

type VmState = 'Not started' | 'Running' | 'Paused';

/** How it ended: with its machine, or because a snapshot could not be loaded, after which nothing can be told of its state. */
type VmmEnd = MachineEnd | { readonly by: 'failed-load' };

/** The VM behind the API. Its state decides which controller an action reaches; only that controller changes it. */
export class Vmm {
  readonly id: string;
  readonly resources: VmResources;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Settles when a VM that had started has ended, or can no longer be. */
  readonly ended: Promise<VmmEnd>;
  state: VmState = 'Not started';
  /** Set by what leaves nothing to go on with: it ends once the answer is out. */
  isDoomed = false;
  readonly #onEnded: (end: VmmEnd) => void;
  #machine: Machine | undefined;
  #handlers: Handlers;

  /** @param mmdsLimitBytes how much the MMDS may hold */
  constructor(id: string, mmdsLimitBytes = DEFAULT_MMDS_LIMIT_BYTES) {
    this.id = id;
    this.resources = new VmResources(mmdsLimitBytes);
    this.metrics = new Metrics(id);
    this.logger = new Logger(id, () => this.metrics.count('logger', 'missed_log_count'));
    let onEnded: (end: VmmEnd) => void = () => undefined;
    this.ended = new Promise((resolve) => {
      onEnded = resolve;
    });
    this.#onEnded = onEnded;
    this.#handlers = prebootHandlers(this);
  }

  /** @throws Fault */
  async handle(action: VmmAction): Promise<Answer> {
    const run = dispatch(this.#handlers, action);
    if (!run) {
      const when = this.state === 'Not started' ? 'before' : 'after';
      throw new Fault(`The requested operation is not supported ${when} starting the microVM.`);
    }
    return await run();
  }

  /** The VM is there: from here on the runtime controller answers. */
  async onStarted(machine: Machine, memory: GuestMemory, state: Exclude<VmState, 'Not started'>): Promise<void> {
    const [{ runtimeHandlers }, { deviceMetrics }] = await Promise.all([
      import('./runtime.js'),
      import('./device-metrics.js'),
    ]);
    this.#machine = machine;
    this.#handlers = runtimeHandlers(this, machine, memory);
    this.state = state;
    void machine.ended.then((end) => this.#end(end));
    await this.metrics.start(deviceMetrics(this.resources, machine));
  }

  /** The answer to the last request is out. */
  onAnswered(): void {
    if (this.isDoomed) {
      this.#onEnded({ by: 'failed-load' });
    }
  }

  /** Ends the VM, if there is one, and waits until nothing of it is left. */
  async kill(): Promise<void> {
    this.#machine?.kill();
    await this.#machine?.ended;
  }

  presentInstance(): object {
    return { id: this.id, state: this.state, vmm_version: API_VERSION, app_name: 'smartvm-qemu' };
  }

  async #end(end: MachineEnd): Promise<void> {
    this.logger.write('INFO', VMM_SOURCE, 'Vmm is stopping.');
    await this.metrics.end();
    this.#onEnded(end);
  }
}
