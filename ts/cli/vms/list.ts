import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { defaultRuntimeDir } from '../../config/directories.js';
import { isValidVmId } from '../../config/ids.js';
import { readBoundedTextSync } from '../../util/bounded-file.js';
import { currentBootId, isActiveSync } from '../../util/process-identity.js';
import { KEEPER_LOST, type VmmExit } from '../../vmm/exit.js';
import { glanceAtRecord, type RecordGlance } from '../../vmm/registry/glance.js';
import type { UnreadableEntry } from '../../vmm/registry/scan.js';
import { readVmStatus, type VmStatus } from '../../vmm/registry/state.js';
import { MAX_RECORD_BYTES, UnreadableRecord } from '../../vmm/registry/unreadable-record.js';

/** Docker's words. `created`: it is being started; `exited`: it has ended, and nobody has removed what is left of it. */
export const VM_STATUSES = ['created', 'running', 'paused', 'exited'] as const;
export type StatusWord = (typeof VM_STATUSES)[number];

export interface ListedVm {
  readonly id: string;
  readonly runtimeDir: string;
  readonly status: StatusWord;
  readonly record: RecordGlance;
  /** None while it is being started. */
  readonly state: VmStatus | undefined;
  /** How the VMM ended, where that is known. */
  readonly exit: VmmExit | undefined;
}

export interface VmList {
  readonly runtimeRoot: string;
  /** By the time of their making, the newest first. */
  readonly vms: readonly ListedVm[];
  readonly unreadable: readonly UnreadableEntry[];
}

const MAX_EXIT_BYTES = 4096;

/**
 * All VMs below a runtime directory, whatever program made them, by their files and /proc alone: to ask a hundred keepers would take
 * longer than all the rest. That is also why every call here waits in line: each is shorter than its way to another thread.
 */
export function listVms(runtimeRoot: string = defaultRuntimeDir()): VmList {
  const bootId = currentBootId();
  const entries = directoriesIn(runtimeRoot).map((id) => look(id, join(runtimeRoot, id), bootId));
  const present = entries.filter((entry) => entry !== undefined);
  const vms = present.filter((entry) => 'record' in entry);
  const newestFirst = (a: ListedVm, b: ListedVm) =>
    compare(b.record.createdAt, a.record.createdAt) || compare(a.id, b.id);
  return { runtimeRoot, vms: vms.sort(newestFirst), unreadable: present.filter((entry) => 'problem' in entry) };
}

function directoriesIn(runtimeRoot: string): string[] {
  try {
    return readdirSync(runtimeRoot).filter(isValidVmId);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return []; // no VM was ever made there
    }
    throw error;
  }
}

/** One VM; undefined when it went while it was looked at. */
export function look(
  id: string,
  runtimeDir: string,
  bootId: string = currentBootId(),
): ListedVm | UnreadableEntry | undefined {
  let record: RecordGlance;
  try {
    record = glanceAtRecord(readBoundedTextSync(join(runtimeDir, 'vm.json'), MAX_RECORD_BYTES, false), id);
  } catch (error) {
    const problem = error instanceof UnreadableRecord ? error.problem : problemOf(error as NodeJS.ErrnoException);
    const isGone = problem === 'missing' && !existsSync(runtimeDir);
    return isGone ? undefined : { id, path: runtimeDir, problem, message: (error as Error).message };
  }
  const written = readExitSync(runtimeDir);
  const state = readVmStatus(runtimeDir);
  const status = statusOf(record, state, written, bootId);
  // The keeper of a VM that has outlived its program writes that down, if it is not killed.
  const exit = written ?? (status === 'exited' && record.detached ? KEEPER_LOST : undefined);
  return { id, runtimeDir, record, state, exit, status };
}

function problemOf({ code }: NodeJS.ErrnoException): UnreadableEntry['problem'] {
  return code === 'ENOENT' || code === 'ENOTDIR' ? 'missing' : 'corrupt';
}

function statusOf(
  { processes, owner }: RecordGlance,
  state: VmStatus | undefined,
  exit: VmmExit | undefined,
  bootId: string,
): StatusWord {
  // The keeper outlives its VMM by the moments in which it tells how that ended.
  const lives = exit === undefined && isActiveSync(processes?.keeper ?? owner, bootId);
  if (!lives) {
    return 'exited';
  }
  return state?.state ?? 'created';
}

/** Undefined while the VM runs, and where there is nothing to read. */
function readExitSync(runtimeDir: string): VmmExit | undefined {
  const path = join(runtimeDir, 'exit.json');
  if (!existsSync(path)) {
    return undefined; // a tenth of the time that a failing open takes
  }
  try {
    return Object(JSON.parse(readBoundedTextSync(path, MAX_EXIT_BYTES, false))) as VmmExit;
  } catch {
    return undefined;
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
