import { type Answer, dispatch, type Handlers, type VmmAction } from '../api/actions.js';
import { Fault } from '../fault.js';
import type { Machine, MachineEnd } from '../machine/machine.js';
import { VmResources } from '../resources/resources.js';
import { prebootHandlers } from './preboot.js';

/** The version of Firecracker whose API this is; spec/firecracker.yaml has the same. */
export const API_VERSION = '1.17.0-dev';

export type VmState = 'Not started' | 'Running' | 'Paused';

/** The VM behind the API. Its state decides which controller an action reaches; only that controller changes it. */
export class Vmm {
  readonly resources = new VmResources();
  /** Settles when a VM that had started has ended. */
  readonly ended: Promise<MachineEnd>;
  state: VmState = 'Not started';
  readonly #id: string;
  readonly #onEnded: (end: MachineEnd) => void;
  #machine: Machine | undefined;
  #handlers: Handlers = prebootHandlers(this);

  constructor(id: string) {
    this.#id = id;
    let onEnded: (end: MachineEnd) => void = () => undefined;
    this.ended = new Promise((resolve) => {
      onEnded = resolve;
    });
    this.#onEnded = onEnded;
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

  /** The VM runs: from here on the runtime controller answers. */
  async onStarted(machine: Machine): Promise<void> {
    const { runtimeHandlers } = await import('./runtime.js');
    this.#machine = machine;
    this.#handlers = runtimeHandlers(this, machine);
    this.state = 'Running';
    void machine.ended.then(this.#onEnded);
  }

  /** Ends the VM, if there is one, and waits until nothing of it is left. */
  async kill(): Promise<void> {
    this.#machine?.kill();
    await this.#machine?.ended;
  }

  presentInstance(): object {
    return { id: this.#id, state: this.state, vmm_version: API_VERSION, app_name: 'smartvm-qemu' };
  }
}
