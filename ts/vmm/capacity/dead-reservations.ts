import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Holder, ownerKey, readHolder } from '../../util/holder.js';
import { isAlive } from '../../util/process-identity.js';
import { isHolderAlive } from '../holder.js';
import { entryName, type Reservation, reservationsOf } from './reservation.js';

interface Known {
  readonly holder: Holder;
  readonly reservation: Reservation;
}

/** Removes what VMs that have ended, and programs that died in line, have left. What it has read it does not read again. */
export class DeadReservations {
  readonly #directory: string;
  #holders = new Map<string, Holder>();
  #current: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Looks for them, from now on: those who ask while one looks share the next look. */
  remove(): Promise<void> {
    this.#next ??= this.#inTurn();
    return this.#next;
  }

  async #inTurn(): Promise<void> {
    await this.#current.catch(() => undefined); // its error is told to those who asked for it
    this.#next = undefined;
    this.#current = this.#lookForDead();
    await this.#current;
  }

  /** A name is one reservation's for ever, so this needs no lock. */
  async #lookForDead(): Promise<void> {
    const seen = reservationsOf(await readdir(this.#directory));
    const known = (await Promise.all(seen.map((reservation) => this.#holderOf(reservation)))).filter(
      (entry) => entry !== undefined,
    );
    this.#holders = new Map(known.map(({ holder, reservation }) => [reservation.key, holder]));
    // A keeper that answers is that of the latest VM of its directory: an id is taken anew when the VM that had it is gone.
    const keepers = new Map(
      known.filter(isTaken).map(({ holder, reservation }) => [holder.runtimeDir, reservation.key]),
    );
    const owners = new Map<string, Promise<boolean>>();
    const ownerLives = (holder: Holder) => {
      const life = owners.get(ownerKey(holder)) ?? isAlive(holder.owner);
      owners.set(ownerKey(holder), life);
      return life;
    };
    const isHeld = async ({ holder, reservation }: Known) =>
      (await ownerLives(holder)) ||
      (keepers.get(holder.runtimeDir) === reservation.key && (await isHolderAlive(holder)));
    await Promise.all(
      known.map(async (entry) => {
        if (!(await isHeld(entry))) {
          await this.#remove(entry.reservation);
        }
      }),
    );
  }

  async #holderOf(reservation: Reservation): Promise<Known | undefined> {
    const path = join(this.#directory, entryName(reservation, reservation.claimed ? 'claimed' : 'waiting'));
    const holder = this.#holders.get(reservation.key) ?? (await readHolder(path));
    if (holder === undefined || holder === 'unknown') {
      return undefined; // gone by itself; or nothing can be said of it, so it stays
    }
    return { holder, reservation };
  }

  async #remove(reservation: Reservation): Promise<void> {
    for (const entry of ['waiting', 'claimed'] as const) {
      await rm(join(this.#directory, entryName(reservation, entry)), { force: true });
    }
  }
}

/** Who waits has no VM yet. */
function isTaken({ reservation }: Known): boolean {
  return reservation.claimed && !reservation.waiting;
}
