import type { VmmExit } from '../../vmm/exit.js';
import type { KeeperEvent } from '../../vmm/keeper-events.js';
import type { RecordGlance } from '../../vmm/registry/glance.js';
import { exitCodeOf } from './ps-row.js';

/** What happens to a VM; Docker's words where they fit. */
export const VM_EVENTS = ['create', 'start', 'pause', 'resume', 'limits', 'deadline', 'stop', 'die', 'remove'] as const;

/** One event as it is printed; what there is not is null, so that each has every field. */
export interface VmEvent {
  /** ISO 8601. */
  readonly time: string;
  readonly event: string;
  readonly id: string;
  readonly name: string | null;
  readonly image: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Of a `die`: that of the VMM, or 128 + the number of the signal that ended it. */
  readonly exitCode: number | null;
  /** Of a `die`, as in exit.json; of a `deadline`, which it was. */
  readonly reason: string | null;
  /** Of a `deadline`: what is done. */
  readonly action: string | null;
}

export type EventTags = Pick<RecordGlance, 'id' | 'name' | 'image' | 'labels'>;

export function vmEvent(
  { id, name, image, labels }: EventTags,
  event: string,
  part: { readonly [Key in 'time' | 'exitCode' | 'reason' | 'action']?: VmEvent[Key] | undefined } = {},
): VmEvent {
  return {
    ...{ time: part.time ?? new Date().toISOString(), event, id, name: name ?? null, image: image ?? null },
    ...{
      labels: labels ?? {},
      exitCode: part.exitCode ?? null,
      reason: part.reason ?? null,
      action: part.action ?? null,
    },
  };
}

export function dieEvent(tags: EventTags, exit: VmmExit): VmEvent {
  return vmEvent(tags, 'die', { time: exit.exitedAt ?? undefined, exitCode: exitCodeOf(exit), reason: exit.reason });
}

/** A keeper's word; undefined for what only says how it stands. */
export function eventOfKeeper(tags: EventTags, { event, time, exit, cause, action }: KeeperEvent): VmEvent | undefined {
  if (event === 'state') {
    return undefined;
  }
  return exit ? dieEvent(tags, exit) : vmEvent(tags, event, { time, reason: cause, action });
}
