import type * as body from './bodies.js';
import type * as device from './device-bodies.js';
import type { JsonValue } from './json-value.js';
import type { SnapshotCreate, SnapshotLoad } from './snapshot-bodies.js';

/** What a request asks of the VMM, with its parameters: Firecracker's `VmmAction`. */
export interface ActionParameters {
  ConfigureBootSource: body.BootSource;
  ConfigureLogger: device.Logger;
  ConfigureMetrics: device.Metrics;
  ConfigureSerial: device.Serial;
  CreateSnapshot: SnapshotCreate;
  FlushMetrics: undefined;
  GetBalloonConfig: undefined;
  GetBalloonStats: undefined;
  GetFreePageHintingStatus: undefined;
  GetFullVmConfig: undefined;
  GetMemoryHotplugStatus: undefined;
  GetMmds: undefined;
  GetVmInstanceInfo: undefined;
  GetVmMachineConfig: undefined;
  GetVmmVersion: undefined;
  HotUnplugDevice: { readonly kind: 'drives' | 'pmem' | 'network-interfaces'; readonly id: string };
  InsertBlockDevice: body.Drive;
  InsertNetworkDevice: body.NetworkInterface;
  InsertPmemDevice: device.Pmem;
  LoadSnapshot: SnapshotLoad;
  PatchMmds: JsonValue;
  Pause: undefined;
  /** The template was checked; no machine of QEMU takes it up. */
  PutCpuConfiguration: unknown;
  PutMmds: JsonValue;
  Resume: undefined;
  SendCtrlAltDel: undefined;
  SetBalloonDevice: device.Balloon;
  SetEntropyDevice: device.Entropy;
  SetMemoryHotplugDevice: device.MemoryHotplug;
  SetMmdsConfiguration: device.MmdsConfig;
  SetVsockDevice: body.Vsock;
  StartFreePageHinting: undefined;
  StartMicroVm: undefined;
  StopFreePageHinting: undefined;
  UpdateBalloon: { readonly amount_mib: number };
  UpdateBalloonStatistics: { readonly stats_polling_interval_s: number };
  UpdateBlockDevice: body.DriveUpdate;
  UpdateMachineConfiguration: body.MachineConfigUpdate;
  UpdateMemoryHotplugSize: { readonly requested_size_mib: number };
  UpdateNetworkInterface: body.NetworkInterfaceUpdate;
  UpdatePmemDevice: device.PmemUpdate;
}

export type ActionName = keyof ActionParameters;

export type VmmAction = {
  [K in ActionName]: { readonly name: K; readonly parameters: ActionParameters[K] };
}[ActionName];

/** JSON that is written already. */
export class JsonText {
  constructor(readonly text: string) {}
}

/** JSON of a 200, or undefined for a 204. */
export type Answer = object | JsonText | undefined;

/** What a controller can do in its state of the VM. An action that is not in it is not legal there. */
export type Handlers = {
  readonly [K in ActionName]?: (parameters: ActionParameters[K]) => Answer | Promise<Answer>;
};

/** Hands the action to its handler; undefined when there is none. */
export function dispatch(handlers: Handlers, action: VmmAction): (() => Answer | Promise<Answer>) | undefined {
  const handler = handlers[action.name] as ((parameters: unknown) => Answer | Promise<Answer>) | undefined;
  return handler && (() => handler(action.parameters));
}
