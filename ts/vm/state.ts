import { SmartVMError } from '../errors.js';

/** The life of a microVM: from each state, the states that may follow by what its MicroVM does. */
export const TRANSITIONS = {
  created: ['starting', 'stopped'],
  starting: ['running', 'paused', 'failed', 'stopped'],
  running: ['pausing', 'stopping', 'stopped', 'failed'],
  pausing: ['paused', 'running', 'stopping', 'stopped', 'failed'],
  paused: ['resuming', 'stopping', 'stopped', 'failed'],
  resuming: ['running', 'paused', 'stopping', 'stopped', 'failed'],
  stopping: ['stopped', 'failed'],
  stopped: [],
  failed: [],
} as const satisfies Record<string, readonly string[]>;

export type VmState = keyof typeof TRANSITIONS;

/**
 * What others may do with it meanwhile: another program, or its keeper at the end of its time. There is no state in between, and what
 * a call of this MicroVM is about to change is not changed by others' news. Beside the two tables nothing decides what is legal.
 */
export const TRANSITIONS_BY_OTHERS: Partial<Record<VmState, VmState>> = { running: 'paused', paused: 'running' };

export function isFinal(state: VmState): boolean {
  return TRANSITIONS[state].length === 0;
}

/** A VM's state, which changes only along {@link TRANSITIONS} and {@link TRANSITIONS_BY_OTHERS}. */
export class StateMachine {
  #state: VmState = 'created';
  readonly #id: string;
  readonly #onChange: (state: VmState, previous: VmState) => void;

  constructor(id: string, onChange: (state: VmState, previous: VmState) => void) {
    this.#id = id;
    this.#onChange = onChange;
  }

  get state(): VmState {
    return this.#state;
  }

  /** @throws SmartVMError INVALID_STATE when the table has no such transition */
  to(next: VmState): void {
    const previous = this.#state;
    if (!(TRANSITIONS[previous] as readonly VmState[]).includes(next)) {
      throw new SmartVMError('INVALID_STATE', `VM ${this.#id} cannot go from ${previous} to ${next}`, {
        details: { id: this.#id, state: previous },
      });
    }
    this.#change(next);
  }

  /** Takes note of what others have done. A state to which they cannot have brought it from here changes nothing. */
  follow(next: VmState): void {
    if (TRANSITIONS_BY_OTHERS[this.#state] === next) {
      this.#change(next);
    }
  }

  #change(next: VmState): void {
    const previous = this.#state;
    this.#state = next;
    this.#onChange(next, previous);
  }

  /** @throws SmartVMError INVALID_STATE unless the VM is in one of these states */
  assert(call: string, ...states: VmState[]): void {
    if (!states.includes(this.#state)) {
      throw new SmartVMError(
        'INVALID_STATE',
        `${call} needs VM ${this.#id} to be ${states.join(' or ')}; it is ${this.#state}`,
        { details: { id: this.#id, state: this.#state } },
      );
    }
  }
}
