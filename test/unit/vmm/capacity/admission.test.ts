import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { judge, type Verdict } from '../../../../ts/vmm/capacity/admission.js';
import { entryName, type Reservation, reservationsOf } from '../../../../ts/vmm/capacity/reservation.js';

const LIMITS = { memoryMib: 10, vcpus: 10 };

const name = (id: string, mib: number, ticket: number, queueMs: number, entry: string) =>
  `${id}~${mib}~1~${ticket}~${queueMs}~00~${entry}`;
const claimed = (id: string, mib: number) => name(id, mib, 1, 0, 'claimed');

/** What one with ticket 5 that asks for `mib` and has claimed it is told. */
function verdict(mib: number, others: string[], hasClaim = true, now = 6n): Verdict {
  const own = [name('me', mib, 5, 0, 'waiting'), ...(hasClaim ? [name('me', mib, 5, 0, 'claimed')] : [])];
  const seen = reservationsOf([...others, ...own]);
  return judge(seen.find(({ id }) => id === 'me') as Reservation, seen, LIMITS, now);
}

describe('judge', () => {
  const earlier = (mib: number, queueMs: number) => [name('earlier', mib, 4, queueMs, 'waiting')];
  const looking = (mib: number, ticket: number) => [
    name('looks', mib, ticket, 0, 'waiting'),
    name('looks', mib, ticket, 0, 'claimed'),
  ];
  const late = 5_000_000_010n;

  test.each<[string, Verdict, Verdict]>([
    ['room for it to the last MiB', 'admitted', verdict(4, [claimed('a', 6)])],
    ['no room beside what is taken', 'stuck', verdict(5, [claimed('a', 6)])],
    ['no claim of its own yet', 'next', verdict(4, [claimed('a', 6)], false)],
    ['room for the one before it as well', 'admitted', verdict(2, earlier(8, 1))],
    ['the room that is left is for the one before it', 'wait', verdict(3, earlier(8, 1))],
    ['the one before it waits for more than is free', 'stuck', verdict(1, [claimed('a', 3), ...earlier(8, 1)])],
    ['the one before it is about to be refused', 'wait', verdict(3, [claimed('a', 3), ...earlier(8, 0)])],
    ['one that came later looks as well', 'next', verdict(6, looking(6, 7))],
    ['one that came before looks as well', 'wait', verdict(6, looking(6, 4))],
    ['the one before it has not left in time', 'admitted', verdict(3, earlier(8, 1), true, 1_000_005n)],
    ['what such a one claims counts still', 'next', verdict(6, looking(6, 4), true, late)],
    ['too many CPUs', 'stuck', verdict(1, ['a~1~10~1~0~00~claimed'])],
    ['names of others in the directory', 'admitted', verdict(10, ['.lock', 'x~9~claimed', 'a~b~c~d~e~f~claimed'])],
  ])('%s: %s', (_what, expected, actual) => {
    expect(actual).toBe(expected);
  });
});

/** The steps of one program as HostCapacity goes through them, on a directory that is a set of names. */
class Actor {
  readonly #me: Reservation;
  readonly #directory: Set<string>;
  state: 'new' | 'entered' | 'waits' | 'admitted' | 'refused' = 'new';
  #verdict: Verdict | undefined;

  constructor(index: number, memoryMib: number, queueMs: number, directory: Set<string>) {
    const key = [`vm${index}`, memoryMib, 1, index, queueMs, '00'].join('~');
    [this.#me] = reservationsOf([`${key}~waiting`]) as [Reservation];
    this.#directory = directory;
  }

  get memoryMib(): number {
    return this.#me.amounts.memoryMib;
  }

  get hasEnded(): boolean {
    return this.state === 'admitted' || this.state === 'refused';
  }

  /** A look and what follows from it are two steps: others may step in between. */
  step(): void {
    const waiting = entryName(this.#me, 'waiting');
    if (this.state === 'new') {
      this.#directory.add(waiting);
      this.state = 'entered';
    } else if (this.state === 'entered') {
      this.#directory.add(entryName(this.#me, 'claimed'));
      this.state = 'waits';
    } else if (this.state === 'waits' && this.#verdict === undefined) {
      this.#verdict = judge(this.#me, reservationsOf([...this.#directory]), LIMITS, 0n);
    } else if (this.state === 'waits') {
      this.#act(waiting, entryName(this.#me, 'claimed'));
      this.#verdict = undefined;
    }
  }

  #act(waiting: string, claim: string): void {
    if (this.#verdict === 'admitted') {
      this.#directory.delete(waiting);
      this.state = 'admitted';
    } else if (this.#verdict === 'next') {
      this.#directory.add(claim);
    } else {
      this.#directory.delete(claim);
      if (this.#verdict === 'stuck' && this.#me.queueMs === 0) {
        this.#directory.delete(waiting);
        this.state = 'refused';
      }
    }
  }

  release(): void {
    this.#directory.delete(entryName(this.#me, 'claimed'));
  }
}

const actors = fc.array(fc.record({ mib: fc.integer({ min: 1, max: 10 }), waits: fc.boolean() }), {
  minLength: 1,
  maxLength: 6,
});
const schedule = fc.array(fc.nat({ max: 5 }), { maxLength: 120 });

describe('programs that step in any order', () => {
  test('never take more than there is; whoever waits is admitted in the end, as others give back', () => {
    fc.assert(
      fc.property(actors, schedule, (kinds, order) => {
        const directory = new Set<string>();
        const all = kinds.map(({ mib, waits }, index) => new Actor(index, mib, waits ? 1_000 : 0, directory));
        const held = new Set<Actor>();
        const stepOne = (actor: Actor | undefined) => {
          if (actor && !actor.hasEnded) {
            actor.step();
            if (actor.state === 'admitted') {
              held.add(actor);
            }
            const taken = [...held].reduce((sum, { memoryMib }) => sum + memoryMib, 0);
            expect(taken).toBeLessThanOrEqual(LIMITS.memoryMib);
          }
        };
        for (const index of order) {
          stepOne(all[index]);
        }
        for (let round = 0; round < 200 && all.some((actor) => !actor.hasEnded); round++) {
          for (const actor of all) {
            stepOne(actor);
          }
          const [first] = held;
          if (first && round % 5 === 4) {
            first.release();
            held.delete(first);
          }
        }
        for (const [index, actor] of all.entries()) {
          expect(kinds[index]?.waits ? ['admitted'] : ['admitted', 'refused']).toContain(actor.state);
        }
        for (const actor of held) {
          actor.release();
        }
        expect([...directory]).toEqual([]);
      }),
      { numRuns: 1_000 },
    );
  });

  test('of those who would not wait and together fit, none is refused', () => {
    fc.assert(
      fc.property(schedule, (order) => {
        const directory = new Set<string>();
        const all = [1, 2, 3, 4].map((mib, index) => new Actor(index, mib, 0, directory));
        for (const index of [...order, ...Array.from({ length: 80 }, (_, step) => step % 4)]) {
          all[index]?.step();
        }
        expect(all.map(({ state }) => state)).toEqual(Array(4).fill('admitted'));
      }),
    );
  });
});
