import { type SnapshotOptions, snapshotPayload } from '../config/updates.js';
import type { SmartVMError } from '../errors.js';
import type { RecordFile } from '../vmm/registry/record-file.js';
import { type FolderJournal, withSnapshotOutput } from '../vmm/snapshot-output.js';
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
  /** Of a VM that this program has started. */
  readonly record: RecordFile | undefined;
}

interface PowerChange {
  readonly state: 'Paused' | 'Resumed';
  readonly during: VmState;
  readonly after: 'paused' | 'running';
}

const PAUSE: PowerChange = { state: 'Paused', during: 'pausing', after: 'paused' };
const RESUME: PowerChange = { state: 'Resumed', during: 'resuming', after: 'running' };

/** From running to paused: the state in between is left on success and on failure alike. */
export async function pauseVm(vm: Powered, reason: StateReason = 'pause'): Promise<void> {
  await patchState(vm, PAUSE, reason);
}

/** From paused to running. */
export async function resumeVm(vm: Powered, reason: StateReason = 'resume'): Promise<void> {
  await patchState(vm, RESUME, reason);
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
    vm.process.life.tell({ state: after });
    leave(after, reason);
  } catch (error) {
    leave(before, (error as SmartVMError).code);
    throw await vm.process.explain(error);
  }
}

/**
 * A snapshot of a VM that runs or is paused; one that ran runs on, whether the snapshot succeeded or not, unless its keeper was to pause
 * it meanwhile.
 */
export async function snapshotVm(vm: Powered, options: SnapshotOptions): Promise<void> {
  const stateNow = (): VmState => vm.state.state;
  const ran = stateNow() === 'running';
  if (ran) {
    await pauseVm(vm, 'snapshot');
  }
  const { pauses } = vm.process.life;
  const failures: unknown[] = [];
  const timeoutMs = options.timeoutMs ?? SNAPSHOT_TIMEOUT_MS;
  const write = async (paths: Pick<SnapshotOptions, 'snapshotPath' | 'memFilePath'>) => {
    await vm.process.api.createSnapshot(snapshotPayload({ ...options, ...paths }), { timeoutMs });
  };
  await withSnapshotOutput(vm.process, options, write, vm.record && folderJournal(vm.record)).catch(async (error) => {
    failures.push(await vm.process.explain(error));
  });
  const resumes = ran && (options.resume ?? true) && vm.process.life.pauses === pauses;
  if (resumes && stateNow() === 'paused' && !vm.process.exit) {
    await resumeVm(vm, 'snapshot').catch((error) => failures.push(error));
  }
  if (failures.length > 0) {
    throw failures[0];
  }
}

function folderJournal(record: RecordFile): FolderJournal {
  return {
    make: (folder) => record.journal({ folders: [folder] }),
    removed: (folder) => record.strikeFolder(folder),
  };
}
