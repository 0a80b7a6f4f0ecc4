import type * as body from './bodies.js';

/** What a request asks of the VMM, with its parameters: Firecracker's `VmmAction`. */
export interface ActionParameters {
  ConfigureBootSource: body.BootSource;
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
  Pause: undefined;
  Resume: undefined;
  SendCtrlAltDel: undefined;
  SetVsockDevice: body.Vsock;
  StartMicroVm: undefined;
  UpdateBlockDevice: body.DriveUpdate;
  UpdateMachineConfiguration: body.MachineConfigUpdate;
  UpdateNetworkInterface: body.NetworkInterfaceUpdate;
}

export type ActionName = keyof ActionParameters;

export type VmmAction = {
  [K in ActionName]: { readonly name: K; readonly parameters: ActionParameters[K] };
}[ActionName];

/** JSON of a 200, or undefined for a 204. */
export type Answer = object | undefined;

/** What a controller can do in its state of the VM. An action that is not in it is not legal there. */
export type Handlers = {
  readonly [K in ActionName]?: (parameters: ActionParameters[K]) => Answer | Promise<Answer>;
};

/** Hands the action to its handler; undefined when there is none. */
export function dispatch(handlers: Handlers, action: VmmAction): (() => Answer | Promise<Answer>) | undefined {
  const handler = handlers[action.name] as ((parameters: unknown) => Answer | Promise<Answer>) | undefined;
  return handler && (() => handler(action.parameters));
}
