import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isValidVmId } from '../../config/ids.js';
import { SmartVMError } from '../../errors.js';
import { type Holder, isSameHolder, readHolder } from '../../util/holder.js';
import { acquireLease, type Lease, releaseLeaseOf } from '../../util/leases.js';
import { currentProcess, isSameProcess } from '../../util/process-identity.js';
import { isHolderAlive } from '../holder.js';
import { leaseDirectory, openLeaseDirectory } from '../lease-directory.js';
import { UnreadableRecord, type VmRecord } from './record.js';
import { readRecord } from './record-file.js';
import type { Remnant } from './remnants.js';
import { standingOf } from './standing.js';

/** What takes the name of a VM, when it starts; undefined for one without. */
export function nameClaimerFor(
  vm: Pick<Holder, 'id' | 'runtimeDir'>,
  name: string | undefined,
): ((signal: AbortSignal) => Promise<() => Promise<void>>) | undefined {
  if (name === undefined) {
    return undefined;
  }
  return async (signal) => {
    const lease = await claimName(name, { ...vm, owner: currentProcess() }, signal);
    return () => lease.release();
  };
}

/**
 * Takes a name for a VM whose directory and record are there: of the VMs of a runtime directory that live, one has it. That of a VM
 * which is proven dead is taken over, whatever has become of its directory.
 * @throws SmartVMError NAME_TAKEN, which says by whom; CANCELED, DIRECTORY_UNSAFE, FILE_WRITE_FAILED
 */
async function claimName(name: string, holder: Holder, signal: AbortSignal): Promise<Lease> {
  const root = dirname(holder.runtimeDir);
  const directory = await openLeaseDirectory('name', root);
  const isHeld = (other: Holder) => hasName(other, name);
  const lease = await acquireLease({ directory, candidates: [name], holder, isHeld, signal });
  if (lease) {
    return lease;
  }
  const other = await readHolder(join(directory, name));
  const who = other && other !== 'unknown' ? `VM ${other.id}` : 'another VM';
  throw new SmartVMError('NAME_TAKEN', `the name ${name} is ${who}'s: stop that one, or take another name`, {
    details: { name, ...(other && other !== 'unknown' ? { id: other.id } : {}) },
  });
}

/** What a dead VM has left of its name. */
export async function nameLeftBy(runtimeDir: string, { id, name, owner }: VmRecord): Promise<Remnant[]> {
  if (name === undefined) {
    return [];
  }
  const directory = leaseDirectory('name', dirname(runtimeDir));
  const holder = { id, runtimeDir, owner };
  const current = await readHolder(join(directory, name));
  return current && current !== 'unknown' && isSameHolder(current, holder) ? [remnant(directory, name, holder)] : [];
}

/** Names in a runtime directory that no living VM has. */
export async function deadNames(runtimeRoot: string): Promise<Remnant[]> {
  const directory = leaseDirectory('name', runtimeRoot);
  const names = (await readdir(directory).catch(() => [])).filter(isValidVmId);
  const found = names.map(async (name) => {
    const holder = await readHolder(join(directory, name));
    const isDead = holder && holder !== 'unknown' && !(await hasName(holder, name));
    return isDead ? [remnant(directory, name, holder)] : [];
  });
  return (await Promise.all(found)).flat();
}

/** A name is its VM's for as long as that lives, which its record tells; without a record there is no VM. */
async function hasName(holder: Holder, name: string): Promise<boolean> {
  const { id, runtimeDir, owner } = holder;
  try {
    const record = await readRecord(runtimeDir, id);
    const isOf = record.name === name && isSameProcess(record.owner, owner);
    return isOf && (await standingOf(runtimeDir, record)) !== 'dead';
  } catch (error) {
    if (!(error instanceof UnreadableRecord)) {
      throw error;
    }
    return error.problem !== 'missing' && (await isHolderAlive(holder));
  }
}

function remnant(directory: string, name: string, holder: Holder): Remnant {
  return { kind: 'lease', name: `name ${name}`, remove: () => releaseLeaseOf(directory, name, holder) };
}
