import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isSmartVMError, SmartVMError } from '../errors.js';
import { writeFileAtomic } from '../util/atomic-file.js';
import { readBoundedText } from '../util/bounded-file.js';
import type { GetOptions } from '../util/download.js';
import type { Reach } from '../util/http/reach.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { parseSafeJson } from '../util/safe-json.js';
import { type CheckedManifest, fetchHostedManifest, readHostedManifest } from './base-image-manifest.js';
import type {
  IBaseImageManagerOptions,
  IBaseImageSource,
  IEnsureBaseImageOptions,
  TBaseImagePreset,
} from './base-image-types.js';
import { CI_BUCKET, type CiImage, findCiImage } from './ci-bucket.js';
import type { Arch } from './image-types.js';

const DAY_MS = 86_400_000;
const MAX_NOTE_BYTES = 64 << 10;

/** What a base image is to be made of. */
export interface BaseImagePlan {
  readonly preset: TBaseImagePreset;
  readonly ciVersion: string;
  readonly source: IBaseImageSource;
  readonly manifest: CheckedManifest;
  readonly reach?: Reach | undefined;
  /** It was not looked up now: what it names may be gone. */
  readonly isNoted?: boolean;
}

/** What was wished for, with the manager's defaults. */
export type Wish = Pick<IEnsureBaseImageOptions, 'preset' | 'manifestPath' | 'manifestUrl'> & {
  signal?: AbortSignal | undefined;
};

export function getOptions({ allowHttp }: IBaseImageManagerOptions, signal: AbortSignal | undefined): GetOptions {
  return { allowHttp, signal };
}

/**
 * Finds out what a base image is made of. A preset that was looked up within `presetMaxAgeMs` is what it was then; an older one is
 * looked up again, and stays what it was where the network is down.
 * @param notesFolder where look-ups are noted; undefined: nothing is noted
 * @throws SmartVMError BASE_IMAGE_MANIFEST_FAILED, INVALID_BASE_IMAGE_MANIFEST, BASE_IMAGE_ARTIFACT_FAILED, CANCELED
 */
export async function planBaseImage(
  wish: Wish,
  arch: Arch,
  options: IBaseImageManagerOptions,
  notesFolder?: string,
): Promise<BaseImagePlan> {
  const path = wish.manifestPath ?? (wish.manifestUrl ? undefined : options.hostedManifestPath);
  const url = wish.manifestUrl ?? options.hostedManifestUrl;
  const preset = wish.preset ?? (path || url ? 'hosted' : 'latest');
  if (preset !== 'hosted') {
    return await planPreset(preset, arch, wish.signal, options, notesFolder);
  }
  if (path !== undefined) {
    const source = { type: 'hosted-manifest', manifestPath: path } as const;
    return { preset, ciVersion: 'hosted', source, manifest: readHostedManifest(path, arch) };
  }
  if (url === undefined) {
    throw new SmartVMError(
      'BASE_IMAGE_MANIFEST_FAILED',
      "preset 'hosted' needs a manifest; give manifestPath or manifestUrl",
    );
  }
  const source = { type: 'hosted-manifest', manifestUrl: withoutSecrets(url) } as const;
  const located = await fetchHostedManifest(url, arch, getOptions(options, wish.signal));
  return { preset, ciVersion: 'hosted', source, ...located };
}

async function planPreset(
  preset: 'latest' | 'lts',
  arch: Arch,
  signal: AbortSignal | undefined,
  options: IBaseImageManagerOptions,
  notesFolder: string | undefined,
): Promise<BaseImagePlan> {
  const { ciVersion, rootfsType, presetMaxAgeMs = DAY_MS } = options;
  const bucketUrl = (options.bucketUrl ?? process.env.SMARTVM_BASE_IMAGE_BUCKET ?? CI_BUCKET).replace(/\/+$/, '');
  const choice = { preset, arch, bucketUrl, ciVersion, rootfsType };
  const key = createHash('sha256').update(JSON.stringify(choice)).digest('hex').slice(0, 16);
  const note = notesFolder === undefined ? undefined : join(notesFolder, `${preset}-${arch}-${key}.json`);
  const noted = note === undefined ? undefined : await readNote(note);
  const age = noted ? Date.now() - noted.checkedAtMs : Number.POSITIVE_INFINITY;
  if (noted && age >= 0 && age < presetMaxAgeMs) {
    return { ...planOf(preset, bucketUrl, noted.image), isNoted: true };
  }
  try {
    const image = await findCiImage(choice, getOptions(options, signal));
    if (note !== undefined && notesFolder !== undefined) {
      await ensurePrivateDirectory(notesFolder);
      await writeFileAtomic(note, JSON.stringify({ checkedAtMs: Date.now(), image }));
    }
    return planOf(preset, bucketUrl, image);
  } catch (error) {
    if (!noted || !isSmartVMError(error, 'BASE_IMAGE_ARTIFACT_FAILED')) {
      throw error;
    }
    console.warn(`Using the base image that preset ${preset} was before: ${error.message}`);
    return planOf(preset, bucketUrl, noted.image);
  }
}

function planOf(preset: TBaseImagePreset, bucketUrl: string, image: CiImage): BaseImagePlan {
  const { manifest, ciVersion, kernelKey, rootfsKey } = image;
  const source = { type: 'ci-bucket', bucketUrl: withoutSecrets(bucketUrl), kernelKey, rootfsKey } as const;
  return { preset, ciVersion, source, manifest };
}

async function readNote(path: string): Promise<{ checkedAtMs: number; image: CiImage } | undefined> {
  try {
    return parseSafeJson(await readBoundedText(path, MAX_NOTE_BYTES, false)) as { checkedAtMs: number; image: CiImage };
  } catch {
    return undefined;
  }
}

/** A manifest that is kept names where it came from without what only its fetching needs. */
function withoutSecrets(url: string): string {
  if (!URL.canParse(url)) {
    return url;
  }
  const plain = new URL(url);
  [plain.username, plain.password, plain.search, plain.hash] = ['', '', '', ''];
  return plain.href.replace(/\/$/, '');
}
