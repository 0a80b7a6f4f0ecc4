import { type Amounts, fits, sum } from './amounts.js';
import { isBefore, type Reservation } from './reservation.js';

/**
 * - `admitted`: it fits with all that counts and with all that came before it.
 * - `next`: it does once those who look as well, but came after it, have stepped back.
 * - `wait`: others come first, and the first of them is about to go: it fits, or does not and would not wait.
 * - `stuck`: somebody has to give back first, for itself, or the first in line that waits, does not fit beside what is taken.
 */
export type Verdict = 'admitted' | 'next' | 'wait' | 'stuck';

/**
 * Whether one who waits may go on, by one look at the directory that began after its own claim, where it has made one, was
 * in it. Of those who are admitted together, the last to claim has seen the claims of all others: so they never exceed the
 * limits, though nobody has a lock.
 *
 * Who waits longer than it said (its program is stopped) is in nobody's way any more; what it claims counts still.
 */
export function judge(mine: Reservation, seen: readonly Reservation[], limits: Amounts, now: bigint): Verdict {
  const others = seen.filter(({ key }) => key !== mine.key);
  const inLine = others.filter(({ waiting, deadline }) => waiting && deadline > now);
  const taken = others.filter(({ claimed, waiting }) => claimed && !waiting);
  const ahead = inLine.filter((other) => isBefore(other, mine));
  const behind = others.filter((other) => other.claimed && other.waiting && !ahead.includes(other));
  const fitTogether = (...parts: (readonly Reservation[])[]) =>
    fits(sum(parts.flat().map(({ amounts }) => amounts)), limits);
  if (!fitTogether(taken, ahead, [mine])) {
    const isStuck = (one: Reservation) => !fitTogether(taken, [one]);
    return isStuck(mine) || ahead.slice(0, 1).some((first) => first.queueMs > 0 && isStuck(first)) ? 'stuck' : 'wait';
  }
  const hasClaim = seen.some(({ key, claimed }) => key === mine.key && claimed);
  return hasClaim && fitTogether(taken, ahead, behind, [mine]) ? 'admitted' : 'next';
}

/** How many wait that came before. */
export function countAhead(mine: Reservation, seen: readonly Reservation[]): number {
  return seen.filter((other) => other.waiting && isBefore(other, mine)).length;
}

/** What has been given to VMs, and is not only asked for. */
export function takenOf(seen: readonly Reservation[]): Reservation[] {
  return seen.filter(({ claimed, waiting }) => claimed && !waiting);
}
