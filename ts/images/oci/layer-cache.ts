import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** A layer, configuration or record that is kept beside the store for pulls to come. */
export interface KeptFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/**
 * What pulls left that no image has: their blobs, and the records of root file systems that were made of them.
 * @param root the images' folder
 * @param named the sha256 that manifests name
 */
export async function unusedLayers(root: string, named: ReadonlySet<string>): Promise<KeptFile[]> {
  const folders = [join(root, 'oci/blobs/sha256'), join(root, 'oci/roots')];
  const found = await Promise.all(folders.map((folder) => unusedIn(folder, named)));
  return found.flat();
}

async function unusedIn(folder: string, named: ReadonlySet<string>): Promise<KeptFile[]> {
  const names = await readdir(folder).catch(() => []);
  const unused = names.filter((name) => !named.has(name.slice(0, 64)) && !name.endsWith('.tmp')); // whose writer may live
  const files = unused.map(async (name) => {
    const path = join(folder, name);
    const stat = await lstat(path).catch(() => undefined); // another program may have removed it
    return stat ? [{ path, sizeBytes: stat.size }] : [];
  });
  return (await Promise.all(files)).flat();
}
