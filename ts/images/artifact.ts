import { isSmartVMError, SmartVMError } from '../errors.js';
import { download } from '../util/download.js';
import type { Reach } from '../util/http/reach.js';
import { printableUrl } from '../util/redact.js';
import { copyArtifact } from './artifact-copy.js';
import type { CheckedArtifact } from './base-image-manifest.js';
import type { ProgressListener } from './image-types.js';
import { holdPart } from './parts.js';

/** How artifacts are fetched. */
export interface FetchPolicy {
  /** Plain HTTP to other hosts than this one. Default false. */
  readonly allowHttp?: boolean | undefined;
  /** The reach of the host whose document names the artifact; by default that of the user, who may name any. */
  readonly narrowest?: Reach | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

export interface PlaceOptions extends FetchPolicy {
  readonly maxBytes: number;
  /** Where what has come of a transfer waits for the next program when this one is killed; on the target's file system. */
  readonly partsFolder: string;
}

/**
 * Brings an artifact, by its path or URL, to `target`, which does not exist; checked by what its manifest says of it, and on the disk.
 * @returns its sha256
 * @throws SmartVMError BASE_IMAGE_ARTIFACT_FAILED (`details.reason` has the code of a failed transfer), FILE_WRITE_FAILED, CANCELED
 */
export async function placeArtifact(artifact: CheckedArtifact, target: string, options: PlaceOptions): Promise<string> {
  const { url } = artifact;
  return url === undefined
    ? await copyArtifact(artifact, target, options)
    : await fetchArtifact(url, artifact, target, options);
}

async function fetchArtifact(
  url: string,
  artifact: CheckedArtifact,
  target: string,
  { partsFolder, onProgress = () => {}, ...options }: PlaceOptions,
): Promise<string> {
  const what = `fetching ${printableUrl(url)}`;
  const { sha256, sizeBytes, etag } = artifact;
  await using part = await holdPart(partsFolder, url, options.signal);
  try {
    const got = await download(url, target, {
      ...options,
      sha256,
      sizeBytes,
      etag,
      partPath: part.path,
      onProgress: ({ receivedBytes, totalBytes }) =>
        onProgress({
          step: 'fetch',
          message: what,
          receivedBytes,
          ...(totalBytes === undefined ? {} : { totalBytes }),
        }),
      onRetry: (message) => onProgress({ step: 'fetch', message }),
    });
    return got.sha256;
  } catch (cause) {
    if (isSmartVMError(cause, 'DOWNLOAD_FAILED', 'DOWNLOAD_CORRUPT', 'DOWNLOAD_REFUSED')) {
      throw new SmartVMError('BASE_IMAGE_ARTIFACT_FAILED', cause.message, {
        cause,
        details: { ...cause.details, reason: cause.code },
      });
    }
    throw cause;
  }
}
