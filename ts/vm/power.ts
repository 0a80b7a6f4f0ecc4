import { type SnapshotOptions, snapshotPayload } from '../config/updates.js';
import type { SmartVMError } from '../errors.js';
import type { KeeperWord } from '../vmm/keeper-life.js';
import { snapshotJournal } from '../vmm/registry/snapshot-journal.js';
import { withSnapshotOutput } from '../vmm/snapshot-output.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
import type { StateReason } from './channels.js';
import type { StateMachine, VmState } from './state.js';

const SNAPSHOT_TIMEOUT_MS = 300_000;

/** Takes the state in which others have brought the VM: the VMM's word counts, for news of it may be overtaken by the next. */
export async function followOthers(vm: Powered): Promise<void> {
  const { state } = await vm.process.api.describeInstance();
  vm.state.follow(state === 'Paused' ? 'paused' : 'running');
}

export interface Powered {
  readonly state: StateMachine;
  readonly process: VmmProcess;
}

interface PowerChange {
  readonly state: 'Paused' | 'Resumed';
  readonly during: VmState;
  readonly after: KeeperWord;
}

const PAUSE: PowerChange = { state: 'Paused', during: 'pausing', after: { state: 'paused' } };
const RESUME: PowerChange = { state: 'Resumed', during: 'resuming', after: { state: 'running' } };
const RESUME_AFTER_SNAPSHOT: PowerChange = { ...RESUME, after: { state: 'running', afterSnapshot: true } };

/** From running to paused: the state in between is left on success and on failure alike. */
export async function pauseVm(vm: Powered): Promise<void> {
  await patchState(vm, PAUSE, 'pause');
}

/** From paused to running. */
export async function resumeVm(vm: Powered): Promise<void> {
  await patchState(vm, RESUME, 'resume');
}

async function patchState(vm: Powered, { state, during, after }: PowerChange, reason: StateReason): Promise<void> {
  const before = vm.state.state;
  vm.state.to(during, reason);
  const leave = (to: VmState, why: StateReason) => {
    // Meanwhile the VM may have ended, or be about to.
    if (vm.state.state === during) {
      vm.state.to(to, why);
    }
  };
  try {
    await vm.process.api.patchVm({ state });
    vm.process.life.tell(after);
    leave(after.state, reason);
  } catch (error) {
    leave(before, (error as SmartVMError).code);
    throw await vm.process.explain(error);
  }
}

/**
 * A snapshot of a VM that runs or is paused; one that ran runs on, whether the snapshot succeeded or not, unless its keeper was to
 * pause it meanwhile.
 */
export async function snapshotVm(vm: Powered, options: SnapshotOptions): Promise<void> {
  const stateNow = (): VmState => vm.state.state;
  const ran = stateNow() === 'running';
  if (ran) {
    await patchState(vm, PAUSE, 'snapshot');
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
    await patchState(vm, RESUME_AFTER_SNAPSHOT, 'snapshot').catch((error) => failures.push(error));
  }
  if (failures.length > 0) {
    throw failures[0];
  }
}
