import { SmartVMError } from '../errors.js';
import type { RecordFile } from '../vmm/registry/record-file.js';
import { assertNewEnough } from '../vmm/version.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
import { CallQueue } from './call-queue.js';
import type { Powered } from './power.js';
import type { VmCall } from './running-vm.js';
import type { StateMachine, VmState } from './state.js';

/** The VM that is called, as it is at the moment of the call. */
interface Called {
  readonly id: string;
  readonly state: StateMachine;
  readonly isStopping: () => boolean;
  /** @throws SmartVMError NO_CLIENT */
  readonly process: () => VmmProcess;
  readonly record: () => RecordFile | undefined;
}

/** The calls of one VM: they run one after the other, in the order in which they were made. */
export class Calls {
  readonly #vm: Called;
  readonly #queue = new CallQueue();

  constructor(vm: Called) {
    this.#vm = vm;
  }

  /** Settles when the calls made so far have ended; never rejects. */
  get idle(): Promise<unknown> {
    return this.#queue.idle;
  }

  /** Runs a call when those before it have ended and the VM is then in one of these states. */
  async run<T>(name: string, states: VmState[], call: (vm: Powered) => Promise<T>): Promise<T> {
    const { id, state, isStopping, process, record } = this.#vm;
    return await this.#queue.run(async () => {
      state.assert(name, ...states);
      if (isStopping()) {
        throw new SmartVMError('INVALID_STATE', `${name}: VM ${id} is being stopped`, { details: { id } });
      }
      return await call({ state, process: process(), record: record() });
    });
  }

  /** A call of the VMM's API. */
  async api<T>({ name, since, paths = [], run }: VmCall<T>): Promise<T> {
    return await this.run(name, ['running', 'paused'], async ({ process }) => {
      assertNewEnough(since === undefined ? [] : [{ field: name, version: since }], process.version);
      try {
        await process.expose(paths);
        return await run(process.api);
      } catch (error) {
        throw await process.explain(error);
      }
    });
  }
}
