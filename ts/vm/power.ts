import { type SnapshotOptions, snapshotPayload } from '../config/updates.js';
import { snapshotJournal } from '../vmm/registry/snapshot-journal.js';
import { withSnapshotOutput } from '../vmm/snapshot-output.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
import type { StateMachine, VmState } from './state.js';

const SNAPSHOT_TIMEOUT_MS = 300_000;

export interface Powered {
  readonly state: StateMachine;
  readonly process: VmmProcess;
}

/** From running to paused: the state in between is left on success and on failure alike. */
export async function pauseVm(vm: Powered): Promise<void> {
  await patchState(vm, 'pausing', 'Paused', 'paused');
}

/** From paused to running. */
export async function resumeVm(vm: Powered): Promise<void> {
  await patchState(vm, 'resuming', 'Resumed', 'running');
}

async function patchState(vm: Powered, during: VmState, state: 'Paused' | 'Resumed', after: VmState): Promise<void> {
  const before = vm.state.state;
  vm.state.to(during);
  const leave = (to: VmState) => {
    // Meanwhile the VM may have ended, or be about to.
    if (vm.state.state === during) {
      vm.state.to(to);
    }
  };
  try {
    await vm.process.api.patchVm({ state });
    leave(after);
  } catch (error) {
    leave(before);
    throw await vm.process.explain(error);
  }
}

/** A snapshot of a VM that runs or is paused; one that ran runs on, whether the snapshot succeeded or not. */
export async function snapshotVm(vm: Powered, options: SnapshotOptions): Promise<void> {
  const stateNow = (): VmState => vm.state.state;
  const ran = stateNow() === 'running';
  if (ran) {
    await pauseVm(vm);
  }
  const failures: unknown[] = [];
  const timeoutMs = options.timeoutMs ?? SNAPSHOT_TIMEOUT_MS;
  const write = async (paths: Pick<SnapshotOptions, 'snapshotPath' | 'memFilePath'>) => {
    await vm.process.api.createSnapshot(snapshotPayload({ ...options, ...paths }), { timeoutMs });
  };
  await withSnapshotOutput(vm.process, options, write, snapshotJournal(vm.process.runtimeDir)).catch(async (error) => {
    failures.push(await vm.process.explain(error));
  });
  if (ran && (options.resume ?? true) && stateNow() === 'paused' && !vm.process.exit) {
    await resumeVm(vm).catch((error) => failures.push(error));
  }
  if (failures.length > 0) {
    throw failures[0];
  }
}
