import type { LifetimeOptions } from '../config/lifetime.js';
import type { KeeperWord } from '../vmm/keeper-life.js';
import { undoByRecord } from './attach.js';
import { type BootContext, recorded, started, startedState } from './boot-context.js';

/** The last act of a start: the keeper is told in which state the VM is, and how long it may be. */
export async function beginLife(context: BootContext): Promise<void> {
  const { lifetime } = context;
  const vmm = started(context);
  const word = { state: startedState(context), ...lifetime };
  if (context.detached) {
    await detach(context, word);
  } else if (isLimited(lifetime)) {
    await vmm.life.begin(word);
  } else {
    vmm.life.tellFast(word);
  }
}

/** Lets the VM outlive this program. Until then it goes with it. */
async function detach(context: BootContext, word: KeeperWord): Promise<void> {
  await started(context).detach(word);
  await recorded(context).update({ detached: true });
  undoByRecord(context, recorded(context).record);
}

function isLimited(lifetime: LifetimeOptions): boolean {
  return Object.values(lifetime).some((value) => value !== undefined);
}
