import { randomInt } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { SmartVMError } from '../../errors.js';
import type { Holder } from '../../util/holder.js';
import { acquireLease } from '../../util/leases.js';
import { isHolderAlive } from '../holder.js';

export interface UidRange {
  readonly first: number;
  readonly count: number;
}

export interface UidLeaseOptions {
  /** Of `openLeaseDirectory('uid')`. */
  readonly leaseDir: string;
  readonly range: UidRange;
  readonly holder: Holder;
  readonly signal?: AbortSignal | undefined;
}

export interface UidLease {
  /** The VM's alone on this host, as uid and as gid, until it is released. */
  readonly uid: number;
  release(): Promise<void>;
}

/**
 * Takes a uid that no other VM has. That of a VM that has ended without giving it back is used again only when the range has no
 * other, and no process runs by it.
 * @throws SmartVMError UID_EXHAUSTED, CANCELED
 */
export async function leaseUid({ leaseDir, range, holder, signal }: UidLeaseOptions): Promise<UidLease> {
  const lease = await acquireLease({
    directory: leaseDir,
    candidates: uidsOf(range),
    holder,
    isHeld: isHolderAlive,
    reclaimable: withoutProcess,
    signal,
  });
  if (!lease) {
    const last = range.first + range.count - 1;
    throw new SmartVMError(
      'UID_EXHAUSTED',
      `every uid from ${range.first} to ${last} is a VM's or has processes; stop some VMs, or give 'jail.uidRange' a greater count`,
      { details: { id: holder.id, range } },
    );
  }
  return { uid: Number(lease.name), release: () => lease.release() };
}

/** From a random place on, so that nearly always the first is free. */
function* uidsOf({ first, count }: UidRange): Iterable<string> {
  const start = randomInt(count);
  for (let index = 0; index < count; index++) {
    yield String(first + ((start + index) % count));
  }
}

async function withoutProcess(uids: readonly string[]): Promise<readonly string[]> {
  const running = new Set([...(await uidsByProcess()).values()].flat());
  return uids.filter((uid) => !running.has(uid));
}

/** The uids by which each process of the host runs: real, effective, saved and of the file system. */
export async function uidsByProcess(): Promise<ReadonlyMap<number, readonly string[]>> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const entries = pids.map(async (pid) => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''); // it has ended meanwhile
    return [Number(pid), /^Uid:\t(.*)$/m.exec(status)?.[1]?.split('\t') ?? []] as const;
  });
  return new Map(await Promise.all(entries));
}
