import type { Holder } from '../util/holder.js';
import { currentBootId, isAlive } from '../util/process-identity.js';
import { isKeeperAlive } from './keeper.js';

/** True until it is proven that the VM has ended: the program that made it is dead, and so is its keeper. */
export async function isHolderAlive(holder: Holder): Promise<boolean> {
  return (await isAlive(holder.owner)) || (await hasKeeper(holder));
}

async function hasKeeper({ owner, runtimeDir }: Holder): Promise<boolean> {
  // A keeper that answers after a reboot is that of another VM.
  return owner.bootId === currentBootId() && (await isKeeperAlive(runtimeDir));
}
