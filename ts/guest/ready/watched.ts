import { setMaxListeners } from 'node:events';
import { linkSignals } from '../../util/deadline.js';
import type { Guest } from '../types.js';
import { poll } from './attempts.js';
import type { ConsoleLines } from './console-lines.js';
import type { AllWait, AnyWait, FailedWait, LogLineWait, Wait } from './types.js';
import { describeWait, tailWords } from './words.js';

/** What the waits of one tree share. */
export interface Ground {
  readonly guest: () => Promise<Guest>;
  readonly console: ConsoleLines;
  /** Aborts when the whole tree is over. */
  readonly over: AbortSignal;
}

type Outcome = 'met' | 'missed' | 'given-up';

/** A wait that goes on, with what it has seen. */
export class WatchedWait {
  readonly #wait: Wait;
  readonly #children: readonly WatchedWait[];
  #saw: string;
  #outcome: Outcome = 'given-up';

  constructor(wait: Wait) {
    this.#wait = wait;
    this.#saw = wait.kind === 'log-line' ? 'no line at all' : 'no answer yet';
    this.#children = isComposite(wait) ? wait.waits.map((child) => new WatchedWait(child)) : [];
  }

  /**
   * Waits until it has come to pass; `missed` when it cannot any more, `given-up` when the signal has aborted before.
   * @throws SmartVMError what no waiting would change
   */
  async run(ground: Ground, signal: AbortSignal): Promise<Outcome> {
    using linked = linkSignals([signal], this.#wait.timeoutMs);
    const outcome = await (isComposite(this.#wait)
      ? this.#runChildren(this.#wait, ground, linked.signal)
      : this.#runOne(this.#wait, ground, linked.signal));
    this.#outcome = outcome === 'given-up' && linked.timedOut ? 'missed' : outcome;
    return this.#outcome;
  }

  /** Those that have kept it from coming to pass. */
  failures(): FailedWait[] {
    const wait = this.#wait;
    if (!isComposite(wait)) {
      const { kind, timeoutMs } = wait;
      const limit = this.#outcome === 'missed' && timeoutMs !== undefined ? { timeoutMs } : {};
      return [{ kind, wait: describeWait(wait), saw: this.#saw, ...limit }];
    }
    const unmet = this.#children.filter((child) => child.#outcome !== 'met');
    const missed = unmet.filter((child) => child.#outcome === 'missed');
    // Of all that have to come to pass, the one that cannot is to blame; the others were only given up for it.
    return (wait.kind === 'all' && missed.length > 0 ? missed : unmet).flatMap((child) => child.failures());
  }

  async #runOne(
    wait: Exclude<Wait, AllWait | AnyWait>,
    { guest, console, over }: Ground,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const saw = (words: string) => {
      this.#saw = words;
    };
    const isMet =
      wait.kind === 'log-line'
        ? await console.until(counter(wait, saw), signal, over)
        : await poll(wait, guest, signal, saw);
    return isMet ? 'met' : 'given-up';
  }

  /** All at once. The first that decides it ends the others, and so does an error. */
  async #runChildren({ kind }: AllWait | AnyWait, ground: Ground, signal: AbortSignal): Promise<Outcome> {
    const decided = new AbortController();
    using linked = linkSignals([signal, decided.signal]);
    setMaxListeners(0, linked.signal); // each child hears of it
    const decisive = kind === 'any' ? 'met' : 'missed';
    const ends = this.#children.map(async (child) => {
      try {
        const outcome = await child.run(ground, linked.signal);
        if (outcome === decisive) {
          decided.abort();
        }
        return outcome;
      } catch (error) {
        decided.abort();
        throw error;
      }
    });
    await Promise.allSettled(ends); // none goes on behind this
    const outcomes = await Promise.all(ends);
    if (outcomes.includes(decisive)) {
      return decisive;
    }
    return outcomes.includes('given-up') ? 'given-up' : kind === 'any' ? 'missed' : 'met';
  }
}

function isComposite(wait: Wait): wait is AllWait | AnyWait {
  return wait.kind === 'all' || wait.kind === 'any';
}

/** Says of each line whether it is the last that is wanted. */
function counter({ match, times = 1 }: LogLineWait, saw: (words: string) => void): (line: string) => boolean {
  let count = 0;
  return (line) => {
    // search() begins at the beginning, whatever the pattern has matched before.
    count += (typeof match === 'string' ? line.includes(match) : line.search(match) !== -1) ? 1 : 0;
    saw(`${times > 1 ? `${count} of ${times}, then ` : ''}the line ${tailWords(line)}`);
    return count >= times;
  };
}
