import { constants, open } from 'node:fs/promises';
import type { RateLimiter } from '../api/bodies.js';
import type { Pmem } from '../api/device-bodies.js';
import { errnoText, Fault, osErrorText } from '../fault.js';
import { updated } from './rate-limiter.js';

const ENODEV = 19;

/** The persistent memory devices. Their files are opened when the VM starts, as Firecracker does. */
export class PmemList {
  readonly #devices: Pmem[] = [];

  /** Adds a device, or replaces the one with its id. @throws Fault */
  insert(config: Pmem, hasRootDrive: boolean): void {
    if (config.root_device && hasRootDrive) {
      throw new Fault(
        'Pmem config error: Attempt to add pmem as a root device while the root device defined as a block device',
      );
    }
    const index = this.#indexOf(config.id);
    if (config.root_device && this.hasRoot && !this.#devices[index]?.root_device) {
      throw new Fault('Pmem config error: A root pmem device already exist');
    }
    this.#devices[index < 0 ? this.#devices.length : index] = config;
  }

  /** @throws Fault when there is no device with that id */
  updateLimit(id: string, limiter: RateLimiter): void {
    const index = this.#indexOf(id);
    const device = this.#devices[index];
    if (!device) {
      throw new Fault(
        'Pmem config error: Unable to patch the pmem device: Failed perform action on device: Device not found Please verify the request arguments.',
      );
    }
    this.#devices[index] = { ...device, rate_limiter: updated(device.rate_limiter, limiter) };
  }

  get hasRoot(): boolean {
    return this.#devices.some((device) => device.root_device);
  }

  get all(): readonly Pmem[] {
    return this.#devices;
  }

  #indexOf(id: string): number {
    return this.#devices.findIndex((device) => device.id === id);
  }
}

/** @returns the length of a device's file @throws Fault as Firecracker refuses to start with a file that it cannot map */
export async function checkPmemFile({ path_on_host: path, read_only }: Pmem): Promise<number> {
  const refusal = 'Start microvm error: Cannot create pmem device: Error';
  try {
    const file = await open(path, (read_only ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK);
    const info = await file.stat().finally(() => file.close());
    const { size } = info;
    if (info.isDirectory()) {
      throw new Fault(`${refusal} accessing backing file: ${errnoText(ENODEV)}`); // which cannot be mapped
    }
    if (size === 0) {
      throw new Fault(`${refusal} backing file size is 0`);
    }
    return size;
  } catch (cause) {
    throw cause instanceof Fault ? cause : new Fault(`${refusal} accessing backing file: ${osErrorText(cause)}`);
  }
}
