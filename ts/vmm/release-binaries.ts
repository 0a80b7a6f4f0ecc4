import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { fetchRelease, installedRelease, latestVersion } from './firecracker-release.js';
import { releaseFileName, releaseFolder } from './release-files.js';

/** Tells how far a transfer is. */
interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?:
    | ((progress: { step: string; message: string; receivedBytes?: number; totalBytes?: number }) => void)
    | undefined;
}

/** The releases of Firecracker in a data folder, fetched where they are missing. */
export function releasesIn(dataDir: string) {
  return { ensure: (version: string, options: FetchOptions) => ensure(releaseFolder(dataDir), version, options) };
}

async function ensure(folder: string, wanted: string, { signal, onProgress = () => {} }: FetchOptions) {
  if (wanted !== 'latest' && !/^v?\d+\.\d+\.\d+$/.test(wanted)) {
    throw new SmartVMError('INVALID_OPTION', `a version of Firecracker is three numbers or 'latest', not '${wanted}'`);
  }
  const onRetry = (message: string) => onProgress({ step: 'firecracker', message });
  const version = wanted === 'latest' ? await latestVersion({ signal, onRetry }) : wanted.replace(/^v/, '');
  if (!(await installedRelease(folder, version))) {
    await fetchRelease(folder, version, {
      signal,
      onRetry,
      onProgress: ({ receivedBytes, totalBytes }) =>
        onProgress({
          step: 'firecracker',
          message: `fetching Firecracker ${version}`,
          receivedBytes,
          ...(totalBytes === undefined ? {} : { totalBytes }),
        }),
    });
  }
  const path = (program: 'firecracker' | 'jailer') => join(folder, releaseFileName(program, version));
  return { version, firecrackerPath: path('firecracker'), jailerPath: path('jailer') };
}
