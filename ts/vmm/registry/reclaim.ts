import { dirname, join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { type FileLock, lockFile } from '../../util/file-lock.js';
import { isSameProcess } from '../../util/process-identity.js';
import type { VmRecord } from './record.js';
import { readRecord } from './record-file.js';
import { type Remnant, remnantsOf } from './remnants.js';
import { standingOf } from './standing.js';

const LOCK = '.reclaim.lock';

/** Waits for the right to reclaim in a runtime directory, which one program at a time has. */
export async function lockReclaim(runtimeRoot: string): Promise<FileLock> {
  return await lockFile(join(runtimeRoot, LOCK));
}

/**
 * Undoes all that a dead VM has left on the host. Of several programs that see it at once, one does; nothing is done when the VM
 * lives, or is another by now.
 * @returns what was undone
 * @throws SmartVMError CLEANUP_FAILED: what could not be undone, and the record of it, stay for the next try
 */
export async function reclaim(runtimeDir: string, record: VmRecord): Promise<Remnant[]> {
  await using _lock = await lockReclaim(dirname(runtimeDir));
  return await reclaimLocked(runtimeDir, record);
}

/** As {@link reclaim}, by who has the lock. */
export async function reclaimLocked(runtimeDir: string, known: VmRecord): Promise<Remnant[]> {
  const record = await readRecord(runtimeDir, known.id).catch(() => undefined);
  if (!record || !isSameVm(record, known) || (await standingOf(runtimeDir, record)) !== 'dead') {
    return [];
  }
  const remnants = await remnantsOf(runtimeDir, record);
  const errors: unknown[] = [];
  for (const remnant of remnants) {
    if (remnant.kind !== 'directory' || errors.length === 0) {
      await remnant.remove().catch((error: unknown) => errors.push(error));
    }
  }
  if (errors.length > 0) {
    const what = errors.map((error) => (error as Error).message).join('; ');
    throw new SmartVMError('CLEANUP_FAILED', `VM ${record.id} is dead, and not all of it could be undone: ${what}`, {
      cause: new AggregateError(errors),
      details: { id: record.id, runtimeDir },
    });
  }
  return remnants;
}

/** Of one id there may be one VM after the other. */
function isSameVm(a: VmRecord, b: VmRecord): boolean {
  return a.id === b.id && a.createdAt === b.createdAt && isSameProcess(a.owner, b.owner);
}
