import { dirname, join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { delay } from '../../util/deadline.js';
import { type FileLock, lockFile } from '../../util/file-lock.js';
import { isAlive, isSameProcess } from '../../util/process-identity.js';
import { staysExited } from './exited.js';
import { leasesOf } from './leases.js';
import { nameLeftBy } from './names.js';
import { networkLeftBy } from './network-remnants.js';
import type { VmRecord } from './record.js';
import { readRecord } from './record-file.js';
import { type Remnant, remnantsOf } from './remnants.js';
import { standingOf } from './standing.js';

const OWNER_MS = 10_000;
const POLL_MS = 10;
const LOCK = '.reclaim.lock';

/** Of a dead VM. `holdings`: one that stays to be read gives back all else; others, and with `all` every one, are removed whole. */
export type Extent = 'all' | 'holdings';

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
export async function reclaim(runtimeDir: string, record: VmRecord, extent?: Extent): Promise<Remnant[]> {
  await using _lock = await lockReclaim(dirname(runtimeDir));
  return await reclaimLocked(runtimeDir, record, extent);
}

/**
 * As {@link reclaim}, for a VM whose end this program has seen. Where the program that made it lives, and the VM was its own, that does
 * it, and this waits for it.
 */
export async function reclaimEnded(runtimeDir: string, record: VmRecord, extent: Extent): Promise<void> {
  for (const deadline = performance.now() + OWNER_MS; ; await delay(POLL_MS)) {
    const now = await readRecord(runtimeDir, record.id).catch(() => undefined);
    if (!now || !isSameVm(now, record)) {
      break;
    }
    if ((await standingOf(runtimeDir, now)) !== 'owned') {
      await reclaim(runtimeDir, now, extent);
      return;
    }
    if (performance.now() > deadline) {
      return;
    }
  }
  if (!(await isAlive(record.owner))) {
    // Its keeper has removed the directory, and of leases a keeper knows nothing.
    const holder = { id: record.id, runtimeDir, owner: record.owner };
    for (const left of await networkLeftBy(holder)) {
      await left.remove();
    }
    const leases = [...(await leasesOf(holder)), ...(await nameLeftBy(runtimeDir, record))];
    await Promise.all(leases.map((lease) => lease.remove()));
  }
}

/** As {@link reclaim}, by who has the lock. */
export async function reclaimLocked(runtimeDir: string, known: VmRecord, extent: Extent = 'all'): Promise<Remnant[]> {
  const record = await readRecord(runtimeDir, known.id).catch(() => undefined);
  if (!record || !isSameVm(record, known) || (await standingOf(runtimeDir, record)) !== 'dead') {
    return [];
  }
  const entry = { runtimeDir, record };
  const remnants = await remnantsOf(entry, extent === 'holdings' && (await staysExited(entry)));
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
