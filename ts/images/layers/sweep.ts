import { readdir, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { readHolder } from '../../util/holder.js';
import type { IsHeld } from './kept.js';

/**
 * Removes the layers of VMs that are dead, and of which there is no record either: a reboot empties the directories of VMs.
 * @returns their paths
 */
export async function sweepPassing(folder: string, isHeld: IsHeld, dryRun: boolean): Promise<string[]> {
  const leases = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.vm'));
  const left = await Promise.all(
    leases.map(async (name) => {
      const holder = await readHolder(join(folder, name));
      return holder !== undefined && holder !== 'unknown' && !(await isHeld(holder)) ? [name] : [];
    }),
  );
  return await Promise.all(
    left.flat().map(async (name) => {
      const [lease, path] = [join(folder, name), join(folder, `${name.slice(0, -'.vm'.length)}.img`)];
      if (!dryRun) {
        await rm(path, { force: true });
        await unlink(lease).catch(() => undefined); // another program may be at it, too
      }
      return path;
    }),
  );
}
