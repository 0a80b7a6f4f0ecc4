import { dirname } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { UnreadableRecord } from './record.js';
import { readRecord } from './record-file.js';
import type { RecordEntry } from './scan.js';

/** @throws SmartVMError VM_NOT_FOUND, RECORD_UNREADABLE */
export async function findRecord(id: string, runtimeDir: string): Promise<RecordEntry> {
  try {
    return { runtimeDir, record: await readRecord(runtimeDir) };
  } catch (cause) {
    if (!(cause instanceof UnreadableRecord)) {
      throw cause;
    }
    const details = { id, path: runtimeDir, problem: cause.problem };
    throw cause.problem === 'missing'
      ? new SmartVMError('VM_NOT_FOUND', `there is no VM ${id} in ${dirname(runtimeDir)}`, { cause, details })
      : new SmartVMError('RECORD_UNREADABLE', `the record of VM ${id} cannot be used: ${cause.message}`, {
          cause,
          details,
        });
  }
}
