import type { BootSource, Drive, MachineConfig, NetworkInterface, Vsock } from '../api/bodies.js';
import type { Balloon, Entropy, MemoryHotplug, MmdsConfig, Pmem } from '../api/device-bodies.js';
import type { Accelerator } from '../machine/accelerator.js';
import type { VmResources } from '../resources/resources.js';

/** What a snapshot keeps of the machine, in the bodies that would configure it. The logger, the metrics and the content of the MMDS are not in it. */
export interface SnapshotConfig {
  /** The devices' state fits no other processor. */
  readonly arch: NodeJS.Architecture;
  readonly accelerator: Accelerator;
  readonly machineConfig: MachineConfig;
  readonly bootSource: BootSource;
  readonly drives: readonly Drive[];
  readonly interfaces: readonly { readonly config: NetworkInterface; readonly mac: string }[];
  readonly mmds: MmdsConfig | null;
  readonly vsock: Vsock | null;
  /** The guest's agent was in the middle of a connection. */
  readonly vsockIsOpen: boolean;
  readonly balloon: Balloon | null;
  readonly entropy: Entropy | null;
  readonly pmem: readonly Pmem[];
  readonly memoryHotplug: MemoryHotplug | null;
}

export function snapshotConfig(resources: VmResources, accelerator: Accelerator): SnapshotConfig {
  const config = resources.present();
  return {
    arch: process.arch,
    accelerator,
    machineConfig: resources.machineConfig,
    bootSource: config['boot-source'],
    drives: config.drives,
    interfaces: resources.interfaces.all.map(({ config, mac }) => ({ config, mac })),
    mmds: config['mmds-config'],
    vsock: config.vsock && { vsock_id: null, ...config.vsock },
    vsockIsOpen: resources.vsock?.isGuestOpen ?? false,
    balloon: config.balloon,
    entropy: config.entropy,
    pmem: config.pmem,
    memoryHotplug: config['memory-hotplug'],
  };
}
