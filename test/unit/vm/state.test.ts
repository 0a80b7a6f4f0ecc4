import { describe, expect, test } from 'vitest';
import { isFinal, StateMachine, TRANSITIONS, TRANSITIONS_BY_OTHERS, type VmState } from '../../../ts/vm/state.js';

const STATES = Object.keys(TRANSITIONS) as VmState[];
const following = (state: VmState): readonly VmState[] => TRANSITIONS[state];

/** A state machine brought to a state along the table. */
function machineIn(target: VmState, changes: string[] = []): StateMachine {
  const machine = new StateMachine('vm-1', (state, previous) => changes.push(`${previous} > ${state}`));
  for (const state of pathTo(target)) {
    machine.to(state);
  }
  return machine;
}

/** The shortest way from `created` to a state. */
function pathTo(target: VmState): VmState[] {
  const paths = new Map<VmState, VmState[]>([['created', []]]);
  for (const [state, path] of paths) {
    for (const next of following(state)) {
      paths.has(next) || paths.set(next, [...path, next]);
    }
  }
  const path = paths.get(target);
  if (!path) {
    throw new Error(`${target} cannot be reached`);
  }
  return path;
}

describe('TRANSITIONS', () => {
  test.each(STATES)('%s can be reached', (state) => {
    expect(machineIn(state).state).toBe(state);
  });

  test('stopped and failed, and nothing else, are final', () => {
    expect(STATES.filter((state) => following(state).length === 0)).toEqual(['stopped', 'failed']);
    expect(STATES.filter(isFinal)).toEqual(['stopped', 'failed']);
  });

  test.each(STATES.filter((state) => !isFinal(state)))('%s leads to an end', (state) => {
    expect(following(state)).toContain('stopped');
  });

  test('what runs can be stopped, and can fail, at any time', () => {
    const lives = STATES.filter((state) => !isFinal(state) && !['created', 'starting', 'stopping'].includes(state));
    expect(lives).toEqual(['running', 'pausing', 'paused', 'resuming']);
    for (const state of lives) {
      expect(following(state)).toEqual(expect.arrayContaining(['stopping', 'stopped', 'failed']));
    }
  });

  test('a pause that fails goes back to where it came from, and so does a resume', () => {
    expect(following('pausing')).toEqual(expect.arrayContaining(['paused', 'running']));
    expect(following('resuming')).toEqual(expect.arrayContaining(['running', 'paused']));
  });
});

describe('StateMachine', () => {
  const PAIRS = STATES.flatMap((from) => STATES.map((to): [VmState, VmState] => [from, to]));

  test.each(PAIRS)('%s to %s: as the table says', (from, to) => {
    const changes: string[] = [];
    const machine = machineIn(from, changes);
    changes.length = 0;
    if (following(from).includes(to)) {
      machine.to(to);
      expect(machine.state).toBe(to);
      expect(changes).toEqual([`${from} > ${to}`]);
    } else {
      expect(() => machine.to(to)).toThrow(
        expect.objectContaining({ code: 'INVALID_STATE', details: { id: 'vm-1', state: from } }),
      );
      expect(machine.state).toBe(from);
      expect(changes).toEqual([]);
    }
  });

  test.each(PAIRS)('%s, of which others have made %s: as the table says', (from, to) => {
    const changes: string[] = [];
    const machine = machineIn(from, changes);
    changes.length = 0;
    machine.follow(to);
    const may = TRANSITIONS_BY_OTHERS[from] === to;
    expect([machine.state, changes]).toEqual(may ? [to, [`${from} > ${to}`]] : [from, []]);
  });

  test('others change nothing that a call is about to change', () => {
    expect(Object.keys(TRANSITIONS_BY_OTHERS).toSorted()).toEqual(['paused', 'running']);
  });

  test('assert() says what the call needs and what there is', () => {
    const machine = machineIn('paused');
    expect(() => machine.assert('resume()', 'paused')).not.toThrow();
    expect(() => machine.assert('pause()', 'running', 'starting')).toThrow(
      'pause() needs VM vm-1 to be running or starting; it is paused',
    );
  });
});
