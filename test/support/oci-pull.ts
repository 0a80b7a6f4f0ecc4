import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { buildOciRoot, type OciBuild, type OciRoot } from '../../ts/images/oci/oci-source.js';
import { parseOciReference } from '../../ts/images/oci/reference.js';
import { ImageStore } from '../../ts/images/store/image-store.js';
import { run } from '../../ts/util/run.js';

export interface PulledRoot extends OciRoot {
  /** Of the root file system, in the store. */
  readonly path: string;
  /** The steps that were told. */
  readonly steps: readonly string[];
}

/** Pulls an image into a cache and makes its root file system, without a kernel. */
export async function pullRoot(
  reference: string,
  cacheDir: string,
  options: Partial<Pick<OciBuild, 'arch' | 'fsType' | 'limits' | 'signal'>> = {},
): Promise<PulledRoot> {
  const store = new ImageStore(cacheDir);
  await using session = await store.openSession('test');
  const steps: string[] = [];
  const root = await buildOciRoot(parseOciReference(reference), {
    ...{ arch: 'x86_64', fsType: 'squashfs', cacheDir, session, ...options },
    onProgress: ({ step }) => steps.push(step),
  });
  return { ...root, path: store.blobs.pathOf(root.rootfs.sha256), steps };
}

/** Each file of a squashfs: mode, owner and group, and its path; of links what they point to. */
export async function listRoot(path: string): Promise<string[]> {
  const listing = (await run('unsquashfs', ['-lln', '-dest', '', path])).toString().trimEnd().split('\n');
  return listing.map((line) => {
    const [, mode, owner, name] = /^(\S+) (\d+\/\d+) .*? \d{4}-\d\d-\d\d \d\d:\d\d ?(.*)$/.exec(line) ?? [];
    return `${mode} ${owner} ${name || '/'}`;
  });
}

export async function fileInRoot(path: string, name: string): Promise<string> {
  return (await run('unsquashfs', ['-cat', path, name])).toString();
}

/** The digests of the blobs that pulls left in a cache. */
export async function cachedBlobs(cacheDir: string): Promise<string[]> {
  return await readdir(join(cacheDir, 'oci/blobs/sha256')).catch(() => []);
}
