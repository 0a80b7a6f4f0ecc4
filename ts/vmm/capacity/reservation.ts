import { randomBytes } from 'node:crypto';
import type { Amounts } from './amounts.js';

/** A VM's place among those that take of the host's capacity, as the names of its entries in the directory tell it. */
export interface Reservation {
  /** What both its entries' names begin with. */
  readonly key: string;
  readonly id: string;
  readonly amounts: Amounts;
  /** When it came, in nanoseconds on the monotonic clock that all programs of a boot share. */
  readonly ticket: bigint;
  /** Most milliseconds that it waits in line; 0: it is refused when it would have to. */
  readonly queueMs: number;
  /** When it is gone from the line, on the clock of the ticket. */
  readonly deadline: bigint;
  /** Counts: it has what it asks for, or looks whether it may. */
  readonly claimed: boolean;
  /** Has not been admitted yet. */
  readonly waiting: boolean;
}

/** Those who look at the same moment are in each other's way for some milliseconds; a program that is stopped, for longer. */
const SETTLE_MS = 5_000;

export type Entry = 'claimed' | 'waiting';

const NAME = /^((\w[\w-]*)~(\d+)~(\d+)~(\d+)~(\d+)~[0-9a-f]+)~(claimed|waiting)$/;

/** A reservation that comes now. Its amounts are in its name: to add all of them up takes one look at the directory. */
export function newReservation(id: string, amounts: Amounts, queueMs: number): Reservation {
  const ticket = monotonicNow();
  const random = randomBytes(4).toString('hex');
  const key = [id, amounts.memoryMib, amounts.vcpus, ticket, queueMs, random].join('~');
  return { key, id, amounts, ticket, queueMs, deadline: deadlineOf(ticket, queueMs), claimed: false, waiting: false };
}

function deadlineOf(ticket: bigint, queueMs: number): bigint {
  return ticket + BigInt(queueMs || SETTLE_MS) * 1_000_000n;
}

export function monotonicNow(): bigint {
  return process.hrtime.bigint();
}

export function entryName({ key }: Reservation, entry: Entry): string {
  return `${key}~${entry}`;
}

/** The reservations that these names are of, in the order in which they came. */
export function reservationsOf(names: readonly string[]): Reservation[] {
  const found = new Map<string, Reservation>();
  for (const name of names) {
    const [, key, id, memoryMib, vcpus, ticket, queueMs, entry] = NAME.exec(name) ?? [];
    if (key === undefined || id === undefined || ticket === undefined) {
      continue;
    }
    const known = found.get(key) ?? {
      key,
      id,
      amounts: { memoryMib: Number(memoryMib), vcpus: Number(vcpus) },
      ticket: BigInt(ticket),
      queueMs: Number(queueMs),
      deadline: deadlineOf(BigInt(ticket), Number(queueMs)),
      claimed: false,
      waiting: false,
    };
    found.set(key, { ...known, [entry as Entry]: true });
  }
  return [...found.values()].toSorted((a, b) => (isBefore(a, b) ? -1 : 1));
}

export function isBefore(a: Reservation, b: Reservation): boolean {
  return a.ticket < b.ticket || (a.ticket === b.ticket && a.key < b.key);
}
