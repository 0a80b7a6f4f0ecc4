import { SmartVMError } from '../errors.js';
import { fetchText, type GetOptions } from '../util/download.js';
import { printableUrl } from '../util/redact.js';
import type { CheckedArtifact, CheckedManifest } from './base-image-manifest.js';
import type { TBaseImageRootfsType } from './base-image-types.js';
import type { Arch } from './image-types.js';

/** Firecracker's public bucket, as docs/getting-started.md of Firecracker names it. */
export const CI_BUCKET = 'https://s3.amazonaws.com/spec.ccfc.min';

const ROOT = 'firecracker-ci/';
const MAX_LISTING_BYTES = 8 << 20;
const MAX_PAGES = 50;
/** How many builds without a kernel and a root file system for this architecture are passed over. */
const MAX_BUILDS = 8;
/** The long-term kernel that Firecracker supports for guests. */
const LTS_SERIES = '6.1.';
const KERNEL = /^vmlinux-(\d+\.\d+\.\d+)$/;
const ROOTFS = /^ubuntu-(\d+\.\d+)\.(squashfs|ext4)$/;
/** Builds of today have a date; those of old belong to a release train. */
const DATED = /^\d{8}-[0-9a-f]{4,40}-\d+$/;
const TRAIN = /^v(\d+\.\d+)$/;

export interface CiChoice {
  readonly preset: 'latest' | 'lts';
  readonly arch: Arch;
  readonly bucketUrl: string;
  /** One build alone: `v1.12` or `20260923-6f82ac4cf331-0`. Default: the newest that has what is wanted. */
  readonly ciVersion?: string | undefined;
  /** Default: squashfs where there is one, else ext4. */
  readonly rootfsType?: TBaseImageRootfsType | undefined;
}

export interface CiImage {
  readonly manifest: CheckedManifest;
  readonly ciVersion: string;
  readonly kernelKey: string;
  readonly rootfsKey: string;
}

interface StoredObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly etag: string;
}

/**
 * The newest kernel and root file system of a preset, by the bucket's listing. `latest`: the highest kernel version; `lts`: the highest
 * of the long-term series. What is fetched must have the size and ETag of the listing.
 * @throws SmartVMError BASE_IMAGE_ARTIFACT_FAILED, CANCELED
 */
export async function findCiImage(choice: CiChoice, options: GetOptions): Promise<CiImage> {
  try {
    const builds = choice.ciVersion === undefined ? await listBuilds(choice.bucketUrl, options) : [choice.ciVersion];
    for (const build of builds.slice(0, MAX_BUILDS)) {
      const image = imageOf(build, await list(choice.bucketUrl, `${ROOT}${build}/${choice.arch}/`, options), choice);
      if (image) {
        return image;
      }
    }
    const searched = builds.slice(0, MAX_BUILDS).join(', ') || 'none';
    throw new Error(`it has no kernel and root file system for that; builds looked at: ${searched}`);
  } catch (cause) {
    if (cause instanceof SmartVMError && cause.code === 'CANCELED') {
      throw cause;
    }
    const wanted = [choice.preset, choice.arch, choice.ciVersion, choice.rootfsType].filter(Boolean).join(', ');
    throw new SmartVMError(
      'BASE_IMAGE_ARTIFACT_FAILED',
      `cannot find a base image (${wanted}) in ${printableUrl(choice.bucketUrl)}: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** The newest first. */
async function listBuilds(bucketUrl: string, options: GetOptions): Promise<string[]> {
  const names = (await list(bucketUrl, ROOT, options, '/')).map(({ key }) => key.slice(ROOT.length).replace(/\/$/, ''));
  const dated = names.filter((name) => DATED.test(name)).toSorted();
  const trains = names.filter((name) => TRAIN.test(name)).toSorted((a, b) => compare(a.slice(1), b.slice(1)));
  return [...trains, ...dated].toReversed();
}

function imageOf(build: string, objects: readonly StoredObject[], choice: CiChoice): CiImage | undefined {
  const prefix = `${ROOT}${build}/${choice.arch}/`;
  const named = (pattern: RegExp) =>
    objects
      .flatMap((object) => {
        const [, version = '', type = ''] = pattern.exec(object.key.slice(prefix.length)) ?? [];
        return version === '' ? [] : [{ object, version, type }];
      })
      .toSorted((a, b) => -compare(a.version, b.version));
  const kernel = named(KERNEL).find(({ version }) => choice.preset === 'latest' || version.startsWith(LTS_SERIES));
  const roots = named(ROOTFS).filter(({ type }) => choice.rootfsType === undefined || type === choice.rootfsType);
  const newest = roots.filter(({ version }) => version === roots[0]?.version);
  const rootfs = newest.find(({ type }) => type === 'squashfs') ?? newest[0];
  if (!kernel || !rootfs) {
    return undefined;
  }
  const rootfsType = rootfs.type as TBaseImageRootfsType;
  const train = TRAIN.exec(build);
  const manifest: CheckedManifest = {
    schemaVersion: 1,
    bundleId: `ci-${build}-${choice.arch}-linux-${kernel.version}-ubuntu-${rootfs.version}-${rootfsType}`,
    arch: choice.arch,
    firecrackerVersion: train ? build : 'latest',
    rootfsType,
    kernel: artifactOf(choice.bucketUrl, kernel.object, 'vmlinux'),
    rootfs: artifactOf(choice.bucketUrl, rootfs.object, `rootfs.${rootfsType}`),
  };
  return { manifest, ciVersion: build, kernelKey: kernel.object.key, rootfsKey: rootfs.object.key };
}

function artifactOf(bucketUrl: string, { key, sizeBytes, etag }: StoredObject, fileName: string): CheckedArtifact {
  return { url: `${bucketUrl}/${key}`, fileName, sizeBytes, etag };
}

/** All objects with a prefix; with a delimiter, the folders below it. */
async function list(
  bucketUrl: string,
  prefix: string,
  options: GetOptions,
  delimiter?: string,
): Promise<StoredObject[]> {
  const found: StoredObject[] = [];
  let token: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const url = new URL(bucketUrl);
    const query = { 'list-type': '2', prefix, ...(delimiter ? { delimiter } : {}) };
    url.search = new URLSearchParams({ ...query, ...(token ? { 'continuation-token': token } : {}) }).toString();
    const listing = await parseListing(await fetchText(url.href, MAX_LISTING_BYTES, options), prefix);
    found.push(...(delimiter ? listing.folders : listing.objects));
    token = listing.next;
    if (token === undefined) {
      return found;
    }
  }
  throw new Error(`the listing of ${prefix} has more than ${MAX_PAGES} pages`);
}

interface Listing {
  readonly objects: StoredObject[];
  readonly folders: StoredObject[];
  readonly next: string | undefined;
}

/** An answer of S3's ListObjectsV2. What it was not asked for, or has no size, is left out. */
async function parseListing(xml: string, prefix: string): Promise<Listing> {
  if (xml.includes('<!DOCTYPE')) {
    throw new Error('the listing defines entities of its own');
  }
  const { XMLParser } = await import('fast-xml-parser'); // for presets alone
  const isArray = (name: string) => name === 'Contents' || name === 'CommonPrefixes';
  const parsed = new XMLParser({ parseTagValue: false, isArray }).parse(xml) as { ListBucketResult?: unknown };
  const result = parsed.ListBucketResult as
    | {
        Contents?: { Key?: unknown; Size?: unknown; ETag?: unknown }[];
        CommonPrefixes?: { Prefix?: unknown }[];
        IsTruncated?: unknown;
        NextContinuationToken?: unknown;
      }
    | undefined;
  if (typeof result !== 'object') {
    throw new Error('the answer is no listing of a bucket');
  }
  const object = (key: unknown, size: unknown, etag: unknown): StoredObject[] =>
    typeof key === 'string' && key.startsWith(prefix) && /^\d{1,15}$/.test(String(size))
      ? [{ key, sizeBytes: Number(size), etag: String(etag) }]
      : [];
  const next = result.NextContinuationToken;
  return {
    objects: (result.Contents ?? []).flatMap(({ Key, Size, ETag }) => object(Key, Size, ETag)),
    folders: (result.CommonPrefixes ?? []).flatMap(({ Prefix }) => object(Prefix, 0, '')),
    next: result.IsTruncated === 'true' && typeof next === 'string' ? next : undefined,
  };
}

/** By their numbers. */
function compare(a: string, b: string): number {
  const [x, y] = [a.split('.').map(Number), b.split('.').map(Number)];
  return x.map((part, index) => part - (y[index] ?? 0)).find((difference) => difference !== 0) ?? 0;
}
