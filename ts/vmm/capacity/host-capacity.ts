import { readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { CapacityOptions } from '../../config/capacity.js';
import { delay, throwIfCanceled } from '../../util/deadline.js';
import { DirectoryChanges } from '../../util/directory-changes.js';
import { type Holder, writeHolder } from '../../util/holder.js';
import { currentProcess } from '../../util/process-identity.js';
import { openLeaseDirectory } from '../lease-directory.js';
import { countAhead, judge } from './admission.js';
import { type Amounts, fits, hostLimits } from './amounts.js';
import { DeadReservations } from './dead-reservations.js';
import { capacityExceeded, neverFits } from './refusal.js';
import {
  type Entry,
  entryName,
  monotonicNow,
  newReservation,
  type Reservation,
  reservationsOf,
} from './reservation.js';

export interface HostCapacityOptions extends CapacityOptions {
  /** Where leases are kept. Default: the default runtime directory. */
  runtimeRoot?: string | undefined;
}

/** How long a VM may wait for its place, and what ends the wait. */
export interface QueueOptions {
  /** Most milliseconds in line; 0: whoever finds no room is refused at once. */
  readonly queueMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Gives back what was reserved. It can be called more than once. */
export type Release = () => void;

/** Of holders that end without a word nothing in the directory tells. */
const POLL_MS = 1_000;
/** Further back in line one looks later: most changes are not for everyone. */
const STEP_MS = 2;
const MAX_STEPS_MS = 200;

/**
 * Memory and CPUs of this host, as all programs of this user share them out to their VMs.
 *
 * Each reservation is an entry in a directory. One that waits has an entry of its own, and a place in the line by the time
 * it came; see {@link judge} for who may go on.
 */
export class HostCapacity {
  readonly limits: Amounts;
  readonly #runtimeRoot: string | undefined;
  #dead: DeadReservations | undefined;

  constructor({ runtimeRoot, ...overcommit }: HostCapacityOptions = {}) {
    this.limits = hostLimits(overcommit);
    this.#runtimeRoot = runtimeRoot;
  }

  /** What reserves for one VM, when it starts. */
  reserverFor(
    vm: Pick<Holder, 'id' | 'runtimeDir'>,
    demand: () => Promise<Amounts>,
  ): (wait: QueueOptions) => Promise<Release> {
    return async (wait) => await this.reserve(await demand(), { ...vm, owner: currentProcess() }, wait);
  }

  /**
   * Takes of the host's capacity what a VM needs, as soon as it is there and nobody came before.
   * @throws SmartVMError MEMORY_EXCEEDED when the host is too small, CAPACITY_EXCEEDED when it is too full, CANCELED
   */
  async reserve(amounts: Amounts, holder: Holder, { queueMs, signal }: QueueOptions): Promise<Release> {
    if (!fits(amounts, this.limits)) {
      throw neverFits(holder.id, amounts, this.limits);
    }
    throwIfCanceled(signal, `reserving capacity for VM ${holder.id}`);
    const directory = await openLeaseDirectory('capacity', this.#runtimeRoot);
    const reservation = newReservation(holder.id, amounts, queueMs);
    const place = new Place(directory, reservation, holder);
    try {
      place.enter('waiting'); // before the claim, which without it would count as admitted
      place.enter('claimed');
      if (judge(reservation, place.look(), this.limits, monotonicNow()) !== 'admitted') {
        await this.#waitInLine(place, signal);
      }
      place.leave('waiting');
    } catch (error) {
      place.release();
      throw error;
    }
    return () => place.release();
  }

  async #waitInLine(place: Place, signal: AbortSignal | undefined): Promise<void> {
    const { directory, reservation } = place;
    using changes = new DirectoryChanges(directory);
    this.#dead ??= new DeadReservations(directory);
    for (let pollAt = monotonicNow(); ; ) {
      changes.reset();
      if (monotonicNow() >= pollAt) {
        await this.#dead.remove();
        pollAt = monotonicNow() + millis(POLL_MS);
      }
      const seen = place.look();
      const verdict = judge(reservation, seen, this.limits, monotonicNow());
      if (verdict === 'admitted') {
        return;
      }
      throwIfCanceled(signal, `waiting in line for VM ${reservation.id}`);
      if ((verdict === 'stuck' && reservation.queueMs === 0) || monotonicNow() >= reservation.deadline) {
        throw capacityExceeded(reservation, seen, this.limits);
      }
      if (verdict === 'next') {
        place.enter('claimed');
      } else {
        place.leave('claimed');
      }
      const until = pollAt < reservation.deadline ? pollAt : reservation.deadline;
      await changes.next(Math.max(0, Number(until - monotonicNow()) / 1e6), signal);
      await delay(Math.min(countAhead(reservation, seen) * STEP_MS, MAX_STEPS_MS), signal);
    }
  }
}

/** The entries of one reservation. Each call is one to the kernel, of some microseconds: to await it would take longer. */
class Place {
  readonly directory: string;
  readonly reservation: Reservation;
  readonly #holder: Holder;
  readonly #entries = new Set<Entry>();

  constructor(directory: string, reservation: Reservation, holder: Holder) {
    this.directory = directory;
    this.reservation = reservation;
    this.#holder = holder;
  }

  look(): Reservation[] {
    return reservationsOf(readdirSync(this.directory));
  }

  enter(entry: Entry): void {
    if (!this.#entries.has(entry)) {
      writeHolder(this.#path(entry), this.#holder);
      this.#entries.add(entry);
    }
  }

  leave(entry: Entry): void {
    if (this.#entries.has(entry)) {
      removeEntry(this.#path(entry));
      this.#entries.delete(entry);
    }
  }

  /** The claim first: without the other it would count as admitted. */
  release(): void {
    this.leave('claimed');
    this.leave('waiting');
  }

  #path(entry: Entry): string {
    return join(this.directory, entryName(this.reservation, entry));
  }
}

/** One that others have found dead may be gone. */
function removeEntry(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw error;
    }
  }
}

function millis(ms: number): bigint {
  return BigInt(ms) * 1_000_000n;
}
