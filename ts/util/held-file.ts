import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Holder, isSameHolder, readHolder } from './holder.js';
import { releaseLeaseOf } from './leases.js';

/**
 * A file `<name>.img` that is one VM's at a time. Beside it stands `<name>.vm`, the VM's lease of it, and, where the file is to stay when
 * the VM ends, `<name>.json`, which describes it. The lease is made before the file and removed after it, so there is no file that
 * nobody knows of.
 */
const IMAGE = '.img';

export const leaseOf = (image: string) => `${stemOf(image)}.vm`;
export const descriptionOf = (image: string) => `${stemOf(image)}.json`;

/** True for a path that {@link releaseHeldFile} may be asked for. */
export function isHeldFile(path: string): boolean {
  return path.startsWith('/') && path.endsWith(IMAGE) && !path.includes('\0');
}

export async function isHeldBy(image: string, holder: Holder): Promise<boolean> {
  const current = await readHolder(leaseOf(image));
  return current !== undefined && current !== 'unknown' && isSameHolder(current, holder);
}

/** Whether the file stays when its VM ends. */
export function isKept(image: string): boolean {
  return existsSync(descriptionOf(image));
}

/** Ends what a VM has of a file, if it has it: the file, unless it is to stay, and the lease. For a VM that has ended. */
export async function releaseHeldFile(image: string, holder: Holder): Promise<void> {
  if (!(await isHeldBy(image, holder))) {
    return;
  }
  if (!isKept(image)) {
    await rm(image, { force: true });
  }
  const lease = leaseOf(image);
  await releaseLeaseOf(dirname(lease), basename(lease), holder);
}

function stemOf(image: string): string {
  return join(dirname(image), basename(image, IMAGE));
}
