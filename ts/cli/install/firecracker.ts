import { advisoriesFor } from '../../vmm/advisories.js';
import { which } from '../../vmm/find.js';
import { archiveUrl, fetchRelease, installedRelease, latestVersion } from '../../vmm/firecracker-release.js';
import { findJailer } from '../../vmm/jailer.js';
import {
  compareVersions,
  FIRECRACKER_VERSION,
  newestFirecracker,
  releaseFileName,
  releaseFolder,
} from '../../vmm/release-files.js';
import type { Finding, Step } from './step.js';

export interface FirecrackerWish {
  /** Three numbers, or `latest`. Absent: whatever is there, else {@link FIRECRACKER_VERSION}. */
  readonly version: string | undefined;
  readonly dataDir: string;
  readonly reason: string;
  readonly signal: AbortSignal;
}

/** Firecracker and its jailer: those of PATH, those fetched before, or those of a release. */
export function firecrackerStep(wish: FirecrackerWish): Step {
  return { name: 'firecracker', find: () => find(wish) };
}

async function find(wish: FirecrackerWish): Promise<Finding> {
  const { reason, signal } = wish;
  const folder = releaseFolder(wish.dataDir);
  const onPath = which('firecracker');
  if (onPath !== undefined && wish.version === undefined) {
    return await ofPath(onPath, wish);
  }
  const version = await versionOf(wish, folder);
  const found = await installedRelease(folder, version);
  const warnings = [...faults(version, version), ...hidden(folder, version, onPath)];
  const details = { version, folder };
  if (found !== undefined) {
    return {
      state: 'present',
      message: `Firecracker ${version} and its jailer are in ${folder}`,
      reason,
      warnings,
      details,
    };
  }
  const url = archiveUrl(version);
  return {
    state: 'needed',
    message: `fetching Firecracker ${version} from ${new URL(url).host}`,
    reason: wish.version === undefined ? `${reason}; ${version} is the version that this SmartVM was made for` : reason,
    warnings,
    details,
    act: async ({ message, progress }) => {
      const release = await fetchRelease(folder, version, { signal, onProgress: progress, onRetry: message });
      const done = `fetched Firecracker ${version} and its jailer to ${folder}; the archive has its published sha256`;
      return { message: done, details: { ...details, ...release } };
    },
  };
}

/** A Firecracker of PATH goes before any that is fetched: it needs a jailer of its own version. */
async function ofPath(path: string, { reason, signal }: FirecrackerWish): Promise<Finding> {
  try {
    const jailer = await findJailer(path, { signal });
    const { version } = jailer;
    const message = `Firecracker ${version} is ${path}, its jailer ${jailer.path}`;
    const details = { version, firecrackerPath: path, jailerPath: jailer.path };
    return { state: 'present', message, reason, warnings: faults(version, version), details };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    const [what] = message.split('; run ');
    const remedy = 'put the jailer of that version beside it, or take it off PATH and run this again';
    return { state: 'failed', code, reason, message: `${what}; ${remedy}` };
  }
}

function faults(firecracker: string, jailer: string): string[] {
  const known = [...advisoriesFor('firecracker', firecracker), ...advisoriesFor('jailer', jailer)];
  const only = { enablePci: ' (with enablePci)', restore: ' (starts from snapshots)' } as const;
  return known.map(({ id, program, when, remedy }) => `${program} has ${id}${when ? only[when] : ''}: ${remedy}`);
}

async function versionOf({ version, signal }: FirecrackerWish, folder: string): Promise<string> {
  if (version === undefined) {
    const newest = newestFirecracker(folder)?.version ?? FIRECRACKER_VERSION;
    return compareVersions(newest, FIRECRACKER_VERSION) > 0 ? newest : FIRECRACKER_VERSION;
  }
  return version === 'latest' ? await latestVersion({ signal }) : version;
}

/** What findVmm() takes before this version. */
function hidden(folder: string, version: string, onPath: string | undefined): string[] {
  const newest = newestFirecracker(folder);
  const newer = newest !== undefined && compareVersions(newest.version, version) > 0 ? newest.path : undefined;
  const before = onPath ?? newer;
  const path = `${folder}/${releaseFileName('firecracker', version)}`;
  return before === undefined ? [] : [`${before} goes before it, unless firecrackerBinaryPath is ${path}`];
}
