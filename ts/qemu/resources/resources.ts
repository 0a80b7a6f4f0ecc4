import type { BootSource, MachineConfigUpdate, Vsock } from '../api/bodies.js';
import type { VsockDevice } from '../vsock/device.js';
import { type CheckedBootSource, checkBootSource, NO_BOOT_SOURCE } from './boot-source.js';
import { DriveList } from './drives.js';
import { DEFAULT_MACHINE_CONFIG, presentMachineConfig, updateMachineConfig } from './machine-config.js';
import { InterfaceList } from './network.js';

/** What the VM is made of: configured before the boot, and what a few updates change after it. */
export class VmResources {
  readonly drives = new DriveList();
  readonly interfaces = new InterfaceList();
  machineConfig = DEFAULT_MACHINE_CONFIG;
  bootSource: CheckedBootSource | undefined;
  vsock: VsockDevice | undefined;

  updateMachineConfig(update: MachineConfigUpdate): void {
    this.machineConfig = updateMachineConfig(this.machineConfig, update);
  }

  async setBootSource(config: BootSource): Promise<void> {
    this.bootSource = await checkBootSource(config);
  }

  async setVsock(config: Vsock): Promise<void> {
    const { VsockDevice } = await import('../vsock/device.js');
    const old = this.vsock;
    this.vsock = undefined;
    old?.remove();
    this.vsock = await VsockDevice.create(config);
  }

  /** `GET /vm/config`: Firecracker's keys, of which those that are not built stay null or empty. */
  present(): object {
    return {
      balloon: null,
      drives: this.drives.present(),
      'boot-source': this.bootSource?.config ?? NO_BOOT_SOURCE,
      'cpu-config': null,
      logger: null,
      'machine-config': presentMachineConfig(this.machineConfig),
      metrics: null,
      'mmds-config': null,
      'network-interfaces': this.interfaces.present(),
      vsock: this.vsock?.present() ?? null,
      entropy: null,
      pmem: [],
      'memory-hotplug': null,
    };
  }
}
