import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isValidVmId } from '../../config/ids.js';
import { type RecordProblem, UnreadableRecord, type VmRecord } from './record.js';
import { readRecord } from './record-file.js';

export interface RecordEntry {
  readonly runtimeDir: string;
  readonly record: VmRecord;
}

/** A directory whose record is not acted on: nothing of it is touched. */
export interface UnreadableEntry {
  readonly id: string;
  readonly path: string;
  /** `missing`: there is none; `newer`: of a later release of SmartVM; `corrupt`: not one that SmartVM wrote. */
  readonly problem: RecordProblem;
  readonly message: string;
}

/** All directories of VMs below a runtime directory, by their records. One that cannot be read hinders no other. */
export async function scanRecords(
  runtimeRoot: string,
): Promise<{ readonly records: RecordEntry[]; readonly unreadable: UnreadableEntry[] }> {
  const ids = (await readdir(runtimeRoot).catch(() => [])).filter(isValidVmId).toSorted();
  const entries = await Promise.all(ids.map((id) => read(id, join(runtimeRoot, id))));
  return {
    records: entries.filter((entry) => 'record' in entry),
    unreadable: entries.filter((entry) => 'problem' in entry),
  };
}

async function read(id: string, path: string): Promise<RecordEntry | UnreadableEntry> {
  try {
    return { runtimeDir: path, record: await readRecord(path) };
  } catch (error) {
    if (!(error instanceof UnreadableRecord)) {
      throw error;
    }
    return { id, path, problem: error.problem, message: error.message };
  }
}
