import { existsSync } from 'node:fs';
import { SmartVMError } from '../errors.js';
import { reclaim } from '../vmm/registry/reclaim.js';
import { UnreadableRecord } from '../vmm/registry/record.js';
import { readRecord } from '../vmm/registry/record-file.js';
import { standingOf } from '../vmm/registry/standing.js';
import type { BootContext } from './boot-context.js';

/**
 * Undoes what a dead VM of the same id has left, before this one takes what is known by that id: where this program made that one too,
 * the names that both have would be given back as the dead one's.
 */
export async function reclaimPredecessor({ id, runtimeDir }: BootContext): Promise<void> {
  if (existsSync(runtimeDir)) {
    await reclaimTaken(id, runtimeDir);
  }
}

/** @throws SmartVMError VM_EXISTS where it is not known to be dead, CLEANUP_FAILED */
export async function reclaimTaken(id: string, runtimeDir: string): Promise<void> {
  const record = await readRecord(runtimeDir, id).catch((error: unknown) => {
    if (!(error instanceof UnreadableRecord)) {
      throw error;
    }
    const why = `${runtimeDir} is there, and is not known to be a VM's that has ended`;
    throw taken(id, runtimeDir, `${why} (${error.message}); remove it or take another id`);
  });
  const standing = await standingOf(runtimeDir, record);
  if (standing !== 'dead') {
    const owner = `program ${record.owner.pid} has it`;
    throw taken(id, runtimeDir, standing === 'owned' ? owner : 'it is already running');
  }
  await reclaim(runtimeDir, record);
}

export function taken(id: string, runtimeDir: string, why: string): SmartVMError {
  return new SmartVMError('VM_EXISTS', `VM ${id} exists: ${why}`, { details: { id, runtimeDir } });
}
