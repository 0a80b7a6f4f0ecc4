import type { BootSource, Drive, MachineConfig, MachineConfigUpdate, NetworkInterface, Vsock } from '../api/bodies.js';
import type { Balloon, Entropy, MemoryHotplug, MmdsConfig, Pmem, Serial } from '../api/device-bodies.js';
import { Fault } from '../fault.js';
import { checkMmdsNetwork } from '../mmds/network-stack.js';
import { MmdsStore } from '../mmds/store.js';
import type { VsockDevice } from '../vsock/device.js';
import type { GuestPort } from '../vsock/guest-port.js';
import { type CheckedBootSource, checkBootSource, NO_BOOT_SOURCE } from './boot-source.js';
import { DriveList } from './drives.js';
import { DEFAULT_MACHINE_CONFIG, presentMachineConfig, updateMachineConfig } from './machine-config.js';
import { checkMemoryHotplug } from './memory-hotplug.js';
import { InterfaceList } from './network.js';
import { PmemList } from './pmem.js';
import { normalized } from './rate-limiter.js';

/** What the VM is made of: configured before the boot, and what a few updates change after it. */
export class VmResources {
  readonly drives = new DriveList();
  readonly interfaces = new InterfaceList();
  readonly pmem = new PmemList();
  readonly mmds: MmdsStore;
  machineConfig: MachineConfig = DEFAULT_MACHINE_CONFIG;
  bootSource: CheckedBootSource | undefined;
  vsock: VsockDevice | undefined;
  balloon: Balloon | null = null;
  entropy: Entropy | null = null;
  memoryHotplug: MemoryHotplug | null = null;
  serial: Serial = { serial_out_path: null, rate_limiter: null };
  #mmdsAddress = '';

  /** @param mmdsLimitBytes how much the MMDS may hold */
  constructor(mmdsLimitBytes: number) {
    this.mmds = new MmdsStore(mmdsLimitBytes);
  }

  /** @throws Fault */
  updateMachineConfig(update: MachineConfigUpdate): void {
    const next = updateMachineConfig(this.machineConfig, update);
    if (this.balloon && next.mem_size_mib < this.balloon.amount_mib) {
      throw new Fault(
        'Machine config error: The memory size (MiB) is smaller than the previously set balloon device target size.',
      );
    }
    this.machineConfig = next;
  }

  /** A custom CPU template takes the place of a static one; QEMU's machines have neither. */
  setCustomCpuTemplate(): void {
    this.machineConfig = { ...this.machineConfig, cpu_template: null };
  }

  /** @throws Fault */
  async setBootSource(config: BootSource): Promise<void> {
    this.bootSource = await checkBootSource(config);
  }

  /** @throws Fault */
  async insertDrive(config: Drive): Promise<void> {
    if (config.is_root_device && this.pmem.hasRoot) {
      throw new Fault(
        'Drive config error: Attempt to add block as a root device while the root device defined as a pmem device',
      );
    }
    await this.drives.insert(config);
  }

  /** @throws Fault */
  async insertInterface(config: NetworkInterface): Promise<void> {
    await this.interfaces.insert(config);
  }

  /** @throws Fault */
  insertPmem(config: Pmem): void {
    this.pmem.insert(config, this.drives.hasRoot);
  }

  /** @throws Fault */
  setBalloon(config: Balloon): void {
    if (config.amount_mib > this.machineConfig.mem_size_mib) {
      throw new Fault('Balloon config error: Amount of pages requested is too large.');
    }
    this.balloon = config;
  }

  setEntropy(config: Entropy): void {
    this.entropy = { rate_limiter: normalized(config.rate_limiter) };
  }

  /** @throws Fault */
  setMemoryHotplug(config: MemoryHotplug): void {
    checkMemoryHotplug(config);
    this.memoryHotplug = config;
  }

  /** @throws Fault */
  async setVsock(config: Vsock): Promise<void> {
    const { VsockDevice } = await import('../vsock/device.js');
    const old = this.vsock;
    this.vsock = undefined;
    old?.remove();
    this.vsock = await VsockDevice.create(config, (guest) => void this.#feedMmds(guest));
  }

  /** @throws Fault */
  setMmds(config: MmdsConfig): void {
    this.#mmdsAddress = checkMmdsNetwork(
      config,
      this.interfaces.all.map((entry) => entry.config.iface_id),
    );
    this.interfaces.setMmds(config.network_interfaces);
    this.mmds.version = config.version;
    this.mmds.imdsCompat = config.imds_compat;
  }

  /** The guest's agent answers for the MMDS, if there is one. */
  async #feedMmds(guest: Pick<GuestPort, 'dial'>): Promise<void> {
    if (this.#presentMmds()) {
      const { feedMmds, MMDS_STREAM } = await import('../mmds/feed.js');
      await feedMmds(this.mmds, this.#mmdsAddress, () => guest.dial(MMDS_STREAM));
    }
  }

  /** `GET /vm/config`: Firecracker's keys, of which some are never filled in there either. */
  present(): VmConfig {
    return {
      balloon: this.balloon,
      drives: this.drives.present(),
      'boot-source': this.bootSource?.config ?? NO_BOOT_SOURCE,
      'cpu-config': null,
      logger: null,
      'machine-config': presentMachineConfig(this.machineConfig),
      metrics: null,
      'mmds-config': this.#presentMmds(),
      'network-interfaces': this.interfaces.present(),
      vsock: this.vsock?.present() ?? null,
      entropy: this.entropy,
      pmem: this.pmem.all,
      'memory-hotplug': this.memoryHotplug,
    };
  }

  #presentMmds(): MmdsConfig | null {
    const ids = this.interfaces.all.filter((entry) => entry.hasMmds).map((entry) => entry.config.iface_id);
    return ids.length === 0
      ? null
      : {
          version: this.mmds.version,
          network_interfaces: ids,
          ipv4_address: this.#mmdsAddress,
          imds_compat: this.mmds.imdsCompat,
        };
  }
}

/** The sections of a configuration that a snapshot keeps, and the others. */
export interface VmConfig {
  readonly balloon: Balloon | null;
  readonly drives: readonly Drive[];
  readonly 'boot-source': BootSource;
  readonly 'cpu-config': null;
  readonly logger: null;
  readonly 'machine-config': object;
  readonly metrics: null;
  readonly 'mmds-config': MmdsConfig | null;
  readonly 'network-interfaces': readonly NetworkInterface[];
  readonly vsock: Pick<Vsock, 'guest_cid' | 'uds_path'> | null;
  readonly entropy: Entropy | null;
  readonly pmem: readonly Pmem[];
  readonly 'memory-hotplug': MemoryHotplug | null;
}
