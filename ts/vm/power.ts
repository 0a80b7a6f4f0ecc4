import { type SnapshotOptions, snapshotPayload } from '../config/updates.js';
import type { RecordFile } from '../vmm/registry/record-file.js';
import { type FolderJournal, withSnapshotOutput } from '../vmm/snapshot-output.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
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

/** From running to paused: the state in between is left on success and on failure alike. */
export async function pauseVm(vm: Powered): Promise<void> {
  await patchState(vm, 'pausing', 'Paused', 'paused');
}

/** From paused to running. */
export async function resumeVm(vm: Powered): Promise<void> {
  await patchState(vm, 'resuming', 'Resumed', 'running');
}

async function patchState(vm: Powered, during: VmState, state: 'Paused' | 'Resumed', after: 'paused' | 'running') {
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
    vm.process.life.tell({ state: after });
    leave(after);
  } catch (error) {
    leave(before);
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
    await pauseVm(vm);
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
    await resumeVm(vm).catch((error) => failures.push(error));
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
