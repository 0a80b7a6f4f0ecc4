import type { Guest } from '../guest/types.js';
import { delay } from '../util/deadline.js';
import { hostArch } from '../vmm/host.js';
import type { VmmProcess } from '../vmm/vmm-process.js';

/** What ended a VM: the gentlest rung of the ladder that worked. */
export type ShutdownRung = 'guest' | 'ctrl-alt-del' | 'SIGTERM' | 'SIGKILL';

interface Machine {
  readonly process: VmmProcess;
  readonly guest: Guest | undefined;
  /** A paused guest hears nothing. */
  readonly paused: boolean;
}

interface Rung {
  readonly name: ShutdownRung;
  readonly meaning: string;
  /** Whether this rung can work here at all. */
  readonly applies: (machine: Machine) => boolean;
  /** Gives true where the guest's own init does it. */
  readonly act: (machine: Machine) => Promise<unknown>;
}

/** How long a rung is given, and the first one where the guest's own init ends what it has started. */
export const GRACE_MS = 5_000;
const INIT_GRACE_MS = 30_000;

/** From the gentlest to the surest. */
export const LADDER: readonly Rung[] = [
  {
    name: 'guest',
    meaning:
      "The agent, or the image's own init, ends what runs in the guest, writes its disks out and resets the machine.",
    applies: ({ guest, paused }) => guest !== undefined && !paused,
    // A reboot, not a power-off: on x86 Firecracker ends at the former and stays at the latter.
    act: async ({ guest }) => await guest?.shutdown('reboot'),
  },
  {
    name: 'ctrl-alt-del',
    meaning: 'Ctrl-Alt-Del on the keyboard of an x86_64 guest, which a guest may take for a request to restart.',
    applies: ({ paused }) => !paused && hostArch() === 'x86_64',
    act: ({ process }) => process.api.createSyncAction({ action_type: 'SendCtrlAltDel' }),
  },
  {
    name: 'SIGTERM',
    meaning: 'The VMM is told to end; the guest hears nothing of it.',
    applies: () => true,
    act: ({ process }) => process.signal('SIGTERM'),
  },
  {
    name: 'SIGKILL',
    meaning: 'The VMM is ended.',
    applies: () => true,
    act: ({ process }) => process.kill(),
  },
];

/** Climbs the ladder until the VMM has ended, waiting up to `graceMs` on each rung, and says which rung it was. */
export async function shutDown(
  machine: Machine,
  graceMs: number | undefined,
  from: ShutdownRung,
): Promise<ShutdownRung> {
  const rungs = LADDER.slice(LADDER.findIndex((rung) => rung.name === from)).filter((rung) => rung.applies(machine));
  for (const rung of rungs) {
    const hurry = new AbortController();
    // A rung that fails is a rung that did not work: the next one is tried at once.
    let needs = GRACE_MS;
    const failed = new Promise<void>((resolve) => {
      rung.act(machine).then(
        (isByInit) => {
          needs = isByInit === true ? INIT_GRACE_MS : GRACE_MS;
        },
        () => resolve(),
      );
    });
    const patience = async () => {
      await delay(graceMs ?? GRACE_MS, hurry.signal);
      if (graceMs === undefined) {
        await delay(needs - GRACE_MS, hurry.signal);
      }
    };
    await Promise.race([machine.process.exited, failed, patience()]);
    hurry.abort();
    if (machine.process.exit) {
      // Whoever was in a hurry may have overtaken the rung.
      return machine.process.exit.signal === 'SIGKILL' ? 'SIGKILL' : rung.name;
    }
  }
  await machine.process.exited; // nothing survives SIGKILL
  return 'SIGKILL';
}
