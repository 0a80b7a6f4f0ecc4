import type { Holder } from '../../util/holder.js';
import { isHolderAlive } from '../holder.js';
import type { Remnant } from './remnants.js';

const remnants = () => import('../../network/remnants.js'); // not for whoever only looks at VMs

/** Interfaces, rules and addresses of one VM, in the order in which they are given back. */
export async function networkLeftBy(holder: Holder): Promise<Remnant[]> {
  const { attachmentsOf, networkLeasesOf } = await remnants();
  return [...(await attachmentsOf(holder)), ...(await networkLeasesOf(holder))];
}

/** Interfaces and rules of VMs that are dead, whatever has become of their directories. */
export async function deadAttachments(): Promise<Remnant[]> {
  return await (await remnants()).deadAttachments(isHolderAlive);
}

/** Their addresses. */
export async function deadNetworkLeases(): Promise<Remnant[]> {
  return await (await remnants()).deadNetworkLeases(isHolderAlive);
}
