import type { MemoryHotplug } from '../api/device-bodies.js';
import { Fault } from '../fault.js';
import { MEMORY_HOTPLUG_PATH as PATH } from './device-arguments.js';
import type { Qmp } from './qmp.js';
import { isActivated } from './virtio.js';

const MIB = 2 ** 20;

/** The hotpluggable memory of a running machine. */
export class MachineHotplugMemory {
  readonly #qmp: Qmp;

  constructor(qmp: Qmp) {
    this.#qmp = qmp;
  }

  /** As `GET /hotplug/memory` answers it. */
  async status(config: MemoryHotplug) {
    const [plugged, requested] = await Promise.all([this.#bytes('size'), this.#bytes('requested-size')]);
    return {
      block_size_mib: config.block_size_mib,
      total_size_mib: config.total_size_mib,
      slot_size_mib: config.slot_size_mib,
      plugged_size_mib: Math.floor(plugged / MIB),
      requested_size_mib: Math.floor(requested / MIB),
    };
  }

  /** Asks the guest to plug or unplug memory up to this much. @throws Fault */
  async request(config: MemoryHotplug, sizeMib: number): Promise<void> {
    const refusal = 'Memory hotplug update error: Failed to create memory hotplug device:';
    if (!(await isActivated(this.#qmp, PATH))) {
      throw new Fault(`${refusal} Device is not active`);
    }
    if (sizeMib % config.block_size_mib !== 0 || sizeMib > config.total_size_mib) {
      throw new Fault(
        `${refusal} Size ${sizeMib * MIB} is invalid: it must be a multiple of block size and less than the total size`,
      );
    }
    await this.#qmp.execute('qom-set', { path: PATH, property: 'requested-size', value: sizeMib * MIB });
  }

  async #bytes(property: string): Promise<number> {
    return (await this.#qmp.execute('qom-get', { path: PATH, property })) as number;
  }
}
