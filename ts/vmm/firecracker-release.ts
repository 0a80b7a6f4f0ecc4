import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { syncDirectory, writeFileAtomic } from '../util/atomic-file.js';
import { type DownloadProgress, download, fetchChecksum, redirectTarget } from '../util/download.js';
import { sha256File } from '../util/file-hash.js';
import { lockFile } from '../util/file-lock.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { printableUrl } from '../util/redact.js';
import { requireTools, run } from '../util/run.js';
import { hostArch } from './host.js';
import { isExecutable, type ReleaseProgram, releaseFileName } from './release-files.js';
import { versionOfExecutable } from './version.js';

const RELEASES = 'https://github.com/firecracker-microvm/firecracker/releases';
const PROGRAMS = ['jailer', 'firecracker'] as const;
/** Releases have some 30 MB, debug symbols included; each of the programs some 3 MB. */
const MAX_ARCHIVE_BYTES = 256 << 20;
const MAX_PROGRAM_BYTES = 128 << 20;
const STAGING = '.staging-';

export interface ReleaseOptions {
  /** In place of the releases' folder on GitHub; the default is SMARTVM_FIRECRACKER_MIRROR. */
  readonly mirror?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** Told of a try that failed and has another behind it. */
  readonly onRetry?: ((message: string) => void) | undefined;
}

/** A release in a folder, and what it was when it came there: `firecracker-v<version>-<arch>.json`. */
export interface FirecrackerRelease {
  readonly version: string;
  readonly url: string;
  readonly archiveSha256: string;
  readonly sha256: Readonly<Record<ReleaseProgram, string>>;
}

/** The folder with the releases. @throws SmartVMError DOWNLOAD_REFUSED when a mirror is no URL */
export function releasesUrl(mirror?: string): string {
  const url = (mirror || process.env.SMARTVM_FIRECRACKER_MIRROR || RELEASES).replace(/\/+$/, '');
  if (!URL.canParse(url)) {
    // Not shown: it may have a password in it.
    throw new SmartVMError(
      'DOWNLOAD_REFUSED',
      'SMARTVM_FIRECRACKER_MIRROR is not a URL, such as https://mirror.test/releases',
    );
  }
  return url;
}

export function archiveUrl(version: string, mirror?: string): string {
  return `${releasesUrl(mirror)}/download/v${version}/firecracker-v${version}-${hostArch()}.tgz`;
}

/** The number of the newest release. @throws SmartVMError RELEASE_INVALID, DOWNLOAD_FAILED, DOWNLOAD_REFUSED, CANCELED */
export async function latestVersion(options: ReleaseOptions = {}): Promise<string> {
  const url = `${releasesUrl(options.mirror)}/latest`;
  const target = await redirectTarget(url, {
    signal: options.signal,
    onRetry: options.onRetry,
    remedy: networkRemedy(),
  });
  const version = /\/v(\d+\.\d+\.\d+)\/?$/.exec(target ?? '')?.[1];
  if (version === undefined) {
    const place = URL.canParse(target ?? '', url) ? new URL(target ?? '', url) : '';
    const what = target === undefined ? 'does not redirect' : `redirects to ${printableUrl(place)}`;
    throw new SmartVMError(
      'RELEASE_INVALID',
      `${printableUrl(url)} ${what}, not to a release; name one by its version`,
    );
  }
  return version;
}

/** The release of this version in the folder, its files hashed; undefined when it is absent, or not what was put there. */
export async function installedRelease(folder: string, version: string): Promise<FirecrackerRelease | undefined> {
  try {
    const release = JSON.parse(await readFile(manifestPath(folder, version), 'utf8')) as FirecrackerRelease;
    for (const program of PROGRAMS) {
      const path = join(folder, releaseFileName(program, version));
      if (!isExecutable(path) || (await sha256File(path)) !== release.sha256[program]) {
        return undefined;
      }
    }
    return release;
  } catch {
    return undefined;
  }
}

/**
 * Fetches a release, checks it by its published sha256, and puts firecracker and jailer into the folder, each whole or not at all.
 * @throws SmartVMError RELEASE_INVALID, DOWNLOAD_FAILED, DOWNLOAD_CORRUPT, DOWNLOAD_REFUSED, FILE_WRITE_FAILED, DIRECTORY_UNSAFE,
 *   TOOL_MISSING, CANCELED
 */
export async function fetchRelease(
  folder: string,
  version: string,
  options: ReleaseOptions = {},
): Promise<FirecrackerRelease> {
  await requireTools(['tar', 'gzip', 'flock']);
  await ensurePrivateDirectory(folder);
  await using _lock = await lockFile(join(folder, '.lock'), options.signal);
  await removeLeftovers(folder);
  const found = await installedRelease(folder, version); // another program may have fetched it meanwhile
  if (found !== undefined) {
    return found;
  }
  const staging = join(folder, `${STAGING}${randomUUID()}`);
  await mkdir(staging, { mode: 0o700 });
  try {
    const { signal, onProgress, onRetry } = options;
    const url = archiveUrl(version, options.mirror);
    const common = { signal, onRetry, remedy: networkRemedy() };
    const archiveSha256 = await fetchChecksum(url, '.sha256.txt', common).catch((error) => {
      throw error.details?.status === 404 ? unknownRelease(version, url, error) : error;
    });
    const archive = join(staging, 'release.tgz');
    await download(url, archive, { ...common, sha256: archiveSha256, maxBytes: MAX_ARCHIVE_BYTES, onProgress });
    const sha256 = { firecracker: '', jailer: '' };
    for (const program of PROGRAMS) {
      sha256[program] = await unpack(archive, program, version, staging, signal);
    }
    // The jailer first: who finds Firecracker finds both.
    for (const program of PROGRAMS) {
      const name = releaseFileName(program, version);
      await rename(join(staging, name), join(folder, name));
    }
    await syncDirectory(folder);
    const release: FirecrackerRelease = { version, url: printableUrl(url), archiveSha256, sha256 };
    await writeFileAtomic(manifestPath(folder, version), `${JSON.stringify(release, null, 2)}\n`);
    return release;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/**
 * Takes one member out of the archive, runs it, and gives its sha256. tar only writes what a regular file of that name holds to its
 * standard output: no other entry, link or path of the archive gets to the file system.
 */
async function unpack(
  archive: string,
  program: ReleaseProgram,
  version: string,
  staging: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const name = releaseFileName(program, version);
  const member = `release-v${version}-${hostArch()}/${name}`;
  const selection = ['--occurrence=1', '--no-recursion', '--no-wildcards', '--', member];
  const invalid = (why: string, cause?: unknown) =>
    new SmartVMError('RELEASE_INVALID', `the release ${version} of Firecracker is not what it should be: ${why}`, {
      cause,
    });
  const args = ['--extract', '--gzip', '--to-stdout', '--file', archive, ...selection];
  const data = await run('tar', args, { signal, maxOutputBytes: MAX_PROGRAM_BYTES }).catch((error) => {
    throw error.code === 'TOOL_FAILED' ? invalid(error.message, error) : error;
  });
  if (data.length === 0) {
    throw invalid(`${member} is no regular file in it`);
  }
  const path = join(staging, name);
  await writeExecutable(path, data);
  const printed = await versionOfExecutable(path, signal).catch((error) => {
    throw error.code === 'CANCELED' ? error : invalid(`${name} does not run: ${error.message}`, error);
  });
  if (printed !== version) {
    throw invalid(`${name} says that it is ${printed}`);
  }
  return await sha256File(path);
}

function unknownRelease(version: string, url: string, cause: unknown): SmartVMError {
  const message = `there is no release ${version} of Firecracker for ${hostArch()}: ${printableUrl(url)} is not there (404)`;
  return new SmartVMError('DOWNLOAD_FAILED', message, { cause, details: { url: printableUrl(url), status: 404 } });
}

async function writeExecutable(path: string, data: Uint8Array): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o700);
    try {
      await file.writeFile(data);
      await file.chmod(0o755); // the umask has no say
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new SmartVMError('FILE_WRITE_FAILED', `cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** Under the lock nobody is fetching: what is staged was left by the dead. */
async function removeLeftovers(folder: string): Promise<void> {
  const left = (await readdir(folder)).filter((name) => name.startsWith(STAGING));
  await Promise.all(left.map((name) => rm(join(folder, name), { recursive: true, force: true })));
}

function manifestPath(folder: string, version: string): string {
  return join(folder, `${releaseFileName('firecracker', version)}.json`);
}

function networkRemedy(): string {
  return 'HTTPS_PROXY names a proxy, SMARTVM_FIRECRACKER_MIRROR another place for the releases';
}
