import { SmartVM } from '../../smartvm.js';
import { forEach } from '../vms/each.js';
import { printLines } from '../vms/output.js';

/** Removes networks, prints the names of those that are gone and gives the exit code. */
export async function removeNetworks(names: readonly string[]): Promise<number> {
  const { networks } = new SmartVM();
  return await forEach(names, async (name) => {
    await networks.remove(name);
    await printLines([name]);
  });
}
