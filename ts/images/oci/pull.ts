import { createHash } from 'node:crypto';
import { lstat, mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import type { Arch } from '../../util/arch.js';
import { readBoundedText } from '../../util/bounded-file.js';
import { run } from '../../util/run.js';
import type { ProgressListener } from '../image-types.js';
import { watchFetch } from './fetch-progress.js';
import {
  chooseForPlatform,
  type Descriptor,
  isIndex,
  OCI_ARCH,
  type OciManifest,
  parseManifest,
  refused,
} from './manifest.js';
import { formatOciReference, type OciReference, type PathReference, type RegistryReference } from './reference.js';
import { copyImage, inspectRaw, transportOf } from './skopeo.js';

export interface PullContext {
  readonly arch: Arch;
  /** Blobs by digest, shared by all images: what is in it is not fetched again. */
  readonly blobs: string;
  /** An empty folder for what is not kept. */
  readonly workDirectory: string;
  readonly maxBlobBytes: number;
  readonly onProgress: ProgressListener;
  readonly signal?: AbortSignal | undefined;
}

/** What a reference names at the moment. */
export interface FoundImage {
  /** The image's digest for these guests' architecture, as its source has it. */
  readonly digest: string;
  /** As its source has it: of a file, only once it is fetched. */
  readonly manifest: OciManifest;
  /** Brings its blobs into the shared folder. @returns its manifest as it lies there */
  fetch(): Promise<OciManifest>;
}

const MAX_MANIFEST_BYTES = 4 << 20;
const MAX_LISTING_BYTES = 16 << 20;
const LAYOUT = 'layout';
const SOURCE = 'source';

/** @throws SmartVMError IMAGE_PULL_FAILED, IMAGE_REFUSED, TOOL_MISSING, CANCELED */
export async function findImage(reference: OciReference, context: PullContext): Promise<FoundImage> {
  return reference.kind === 'registry'
    ? await findInRegistry(reference, context)
    : await findInFile(reference, context);
}

/** Asks for manifests alone, and holds them against their digests; what is fetched then is the image of that digest. */
async function findInRegistry(reference: RegistryReference, context: PullContext): Promise<FoundImage> {
  const name = formatOciReference(reference);
  context.onProgress({ step: 'resolve', message: `asking ${reference.registry} for ${name}` });
  const inspect = async (digest?: string) => {
    const raw = await inspectRaw(digest === undefined ? reference : { ...reference, digest }, context.signal);
    const found = digestOf(raw);
    const wanted = digest ?? reference.digest;
    if (wanted !== undefined && found !== wanted) {
      throw refused(name, `the registry gave ${found} for ${wanted}`);
    }
    return { digest: found, manifest: parseManifest(raw, name) };
  };
  let { digest, manifest } = await inspect();
  if (isIndex(manifest)) {
    ({ digest, manifest } = await inspect(chooseForPlatform(manifest, context.arch, name).digest));
  }
  if (isIndex(manifest)) {
    throw refused(name, 'its index names an index in place of an image');
  }
  const pinned = { ...reference, digest };
  const { layers } = manifest;
  return { digest, manifest, fetch: () => copy(transportOf(pinned), name, context, { ...reference, layers }) };
}

async function findInFile(reference: PathReference, context: PullContext): Promise<FoundImage> {
  const name = formatOciReference(reference);
  // A name without the characters that mean something to skopeo.
  await symlink(reference.path, join(context.workDirectory, SOURCE));
  const transport = await transportOfFile(reference, context);
  const selector = reference.selector === undefined ? '' : `:${reference.selector}`;
  const fetch = () => copy(`${transport}:${SOURCE}${selector}`, name, context);
  let fetched: OciManifest | undefined = await fetch();
  const manifest = fetched;
  const take = async () => {
    const once = fetched;
    fetched = undefined;
    return once ?? (await fetch());
  };
  return { digest: manifest.config.digest, manifest, fetch: take };
}

/** @param known of an image in a registry */
async function copy(
  source: string,
  name: string,
  context: PullContext,
  { registry, layers = [] }: { readonly registry?: string; readonly layers?: readonly Descriptor[] } = {},
): Promise<OciManifest> {
  const { blobs, workDirectory, onProgress, signal, maxBlobBytes } = context;
  const layout = join(workDirectory, LAYOUT);
  await rm(layout, { recursive: true, force: true });
  await mkdir(blobs, { recursive: true, mode: 0o700 });
  const progress = { step: 'pull', message: `pulling ${name}` };
  onProgress(progress);
  const tell = (receivedBytes: number, totalBytes: number) => onProgress({ ...progress, receivedBytes, totalBytes });
  using _watch = watchFetch({ layers, pathOf: (digest) => blobPath(blobs, digest), layout, tell });
  const target = { layout: LAYOUT, blobs, maxBlobBytes, goArch: OCI_ARCH[context.arch] };
  await copyImage(source, target, name, { cwd: workDirectory, registry, signal });
  const index = parseManifest(await readBlob(join(layout, 'index.json'), MAX_MANIFEST_BYTES), name);
  const digest = isIndex(index) ? index.manifests[0]?.digest : undefined;
  const manifest = digest && parseManifest(await readBlob(blobPath(blobs, digest), MAX_MANIFEST_BYTES, digest), name);
  if (!manifest || isIndex(manifest)) {
    throw refused(name, 'what was pulled is not one image');
  }
  return manifest;
}

async function transportOfFile({ path }: PathReference, { signal }: PullContext): Promise<string> {
  const stat = await lstat(path).catch((cause: Error) => {
    throw new SmartVMError('IMAGE_PULL_FAILED', `${path} cannot be read: ${cause.message}`, {
      cause,
      details: { image: path, reason: 'not-found' },
    });
  });
  if (stat.isDirectory()) {
    await readBlob(join(path, 'oci-layout'), 4096).catch((cause: unknown) => {
      const hint = 'for a folder with a root file system leave `oci:` out';
      throw new SmartVMError('IMAGE_REFUSED', `${path} is no OCI layout, for it has no oci-layout; ${hint}`, { cause });
    });
    return 'oci';
  }
  if (!stat.isFile()) {
    throw refused(path, 'it is neither a file nor a folder (a link is not followed)');
  }
  const options = { signal, maxOutputBytes: MAX_LISTING_BYTES };
  const listing = await run('tar', ['--list', '--file', path, '--force-local'], options).catch((cause: unknown) => {
    throw cause instanceof SmartVMError && cause.code === 'TOOL_FAILED'
      ? new SmartVMError('IMAGE_REFUSED', `${path} is no tar archive: ${cause.message}`, { cause })
      : cause;
  });
  const names = new Set(
    listing
      .toString()
      .split('\n')
      .map((line) => line.replace(/^\.\//, '')),
  );
  // What docker saves since release 25 is both.
  if (names.has('manifest.json')) {
    return 'docker-archive';
  }
  if (names.has('oci-layout')) {
    return 'oci-archive';
  }
  throw refused(
    path,
    'it is no image: neither `docker save` nor an OCI archive (of a root file system, unpack it first)',
  );
}

/** A small file, and its digest where that is known. @throws SmartVMError IMAGE_REFUSED */
export async function readBlob(path: string, maxBytes: number, digest?: string): Promise<Buffer> {
  const text = await readBoundedText(path, maxBytes).catch((cause: Error) => {
    throw new SmartVMError('IMAGE_REFUSED', `a part of the image cannot be read: ${cause.message}`, { cause });
  });
  const data = Buffer.from(text);
  if (digest !== undefined && digestOf(data) !== digest) {
    await rm(path, { force: true }); // it is fetched the next time
    throw new SmartVMError('IMAGE_REFUSED', `${path} has other bytes than its name says; try again`);
  }
  return data;
}

export function blobPath(blobs: string, digest: string): string {
  return join(blobs, 'sha256', digest.slice('sha256:'.length));
}

function digestOf(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}
