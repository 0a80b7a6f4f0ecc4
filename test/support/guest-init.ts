import type { GuestInit } from '../../ts/config/guest-init.js';

const ASKED = process.env.SMARTVM_TEST_INIT as GuestInit | undefined;

/** The inits under which each suite of the guest's agent runs: both, or the one that SMARTVM_TEST_INIT names. */
export const GUEST_INITS: readonly GuestInit[] = ASKED === undefined ? ['agent', 'image'] : [ASKED];

/** Whether to leave out what takes its time and has little to do with who is PID 1: where the suite runs twice, once is enough. */
export function isSecondRun(init: GuestInit): boolean {
  return init === 'image' && ASKED === undefined;
}
