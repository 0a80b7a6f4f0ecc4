import { channel, tracingChannel } from 'node:diagnostics_channel';
import type { SmartVMErrorCode } from '../errors.js';
import type { StepChannel } from '../util/traced.js';
import type { ExitReason } from './exit.js';
import type { VmState } from './state.js';

/** Each step of a VM's start, by the names of `vm.timings`. */
export const BOOT_STEP: StepChannel = tracingChannel('smartvm:boot:step');

/** Why a state changed: the call that asked for it, another program or the VM's limits, how the VM ended, or the code of what failed. */
export type StateReason =
  | 'start'
  | 'attach'
  | 'pause'
  | 'resume'
  | 'snapshot'
  | 'stop'
  | 'others'
  | ExitReason
  | SmartVMErrorCode;

/** A change of a VM's state, published before its `state` event. */
export interface StateMessage {
  /** Of the VM. */
  readonly id: string;
  readonly from: VmState;
  readonly to: VmState;
  readonly reason: StateReason;
}

const VM_STATE = channel('smartvm:vm:state');

export function publishState(message: StateMessage): void {
  VM_STATE.publish(message);
}
