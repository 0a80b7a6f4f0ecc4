import { createHash } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunOptions } from '../../util/run.js';
import { runInBuildSandbox } from '../build-sandbox.js';
import type { CheckedLayer } from './layers.js';
import type { Descriptor } from './manifest.js';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const TAG = 'image';

export interface Unpacking {
  readonly config: Descriptor & { readonly path: string };
  readonly layers: readonly CheckedLayer[];
  /** An empty folder for what is not kept. `root` in it gets the image's files. */
  readonly workDirectory: string;
  readonly options: RunOptions;
}

/**
 * Puts an image's layers one above the other, whiteouts, links, owners and extended attributes included, in namespaces of the
 * build's own. Paths are resolved inside of the folder, whatever links say. In a user namespace, which can make no devices, those
 * become empty files.
 * @returns the folder with the image's files
 * @throws SmartVMError TOOL_FAILED, CANCELED
 */
export async function unpackLayers(unpacking: Unpacking): Promise<string> {
  const { workDirectory, options } = unpacking;
  const layout = join(workDirectory, 'layout');
  await writeLayout(layout, unpacking);
  const root = join(workDirectory, 'root');
  const env = { ...process.env, TMPDIR: workDirectory };
  await runInBuildSandbox('umoci', ['raw', 'unpack', '--image', `layout:${TAG}`, 'root'], {
    ...options,
    cwd: workDirectory,
    env,
  });
  return root;
}

/** An OCI layout of this one image, its blobs links to those of the cache: docker's media types are OCI's in it. */
async function writeLayout(layout: string, { config, layers }: Unpacking): Promise<void> {
  const blobs = join(layout, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true, mode: 0o700 });
  const blobPath = (digest: string) => join(blobs, digest.slice('sha256:'.length));
  const contents = new Map([config, ...layers].map(({ digest, path }) => [digest, path])); // a layer may occur twice
  for (const [digest, path] of contents) {
    await symlink(path, blobPath(digest));
  }
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: CONFIG_TYPE, digest: config.digest, size: config.size },
      layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    }),
  );
  const digest = `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
  await writeFile(blobPath(digest), manifest);
  const annotations = { 'org.opencontainers.image.ref.name': TAG };
  const entry = { mediaType: MANIFEST_TYPE, digest, size: manifest.length, annotations };
  await writeFile(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}
