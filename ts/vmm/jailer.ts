import { realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { which } from './find.js';
import { isExecutable } from './release-files.js';
import { versionOfExecutable } from './version.js';

export interface FindJailerOptions {
  /** Taken in place of a search; its version is looked at all the same. */
  jailerBinaryPath?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface Jailer {
  readonly path: string;
  /** Firecracker's too. */
  readonly version: string;
}

const REMEDY = 'run `smartvm install`, or give up the wall with `jail: false`';

/**
 * The jailer of a Firecracker: beside it (`jailer-v…` beside `firecracker-v…`, then `jailer`), also where a link to it leads, then on PATH;
 * the first that has its version.
 * @throws SmartVMError JAILER_MISSING; JAILER_MISMATCH when there are only others; TOOL_FAILED, TOOL_MISSING, CANCELED
 */
export async function findJailer(firecrackerPath: string, options: FindJailerOptions = {}): Promise<Jailer> {
  const { jailerBinaryPath, signal } = options;
  const candidates = jailerBinaryPath === undefined ? candidatesOf(firecrackerPath) : [jailerBinaryPath];
  const present = candidates.filter(isExecutable);
  const [first] = present;
  if (first === undefined) {
    const where = jailerBinaryPath ?? `neither beside ${firecrackerPath} nor on PATH`;
    const what = jailerBinaryPath === undefined ? `there is ${where}` : `${where} is no executable`;
    throw new SmartVMError('JAILER_MISSING', `no jailer for ${firecrackerPath}: ${what}; ${REMEDY}`, {
      details: { firecrackerPath, candidates },
    });
  }
  const wanted = await versionOfExecutable(firecrackerPath, signal);
  const versions: string[] = [];
  for (const path of present) {
    const version = await versionOfExecutable(path, signal);
    if (version === wanted && version !== 'unknown') {
      return { path, version };
    }
    versions.push(version);
  }
  const others = present.map((path, index) => `${path} is ${versions[index]}`).join(', ');
  throw new SmartVMError('JAILER_MISMATCH', `${firecrackerPath} is version ${wanted}, but ${others}; ${REMEDY}`, {
    details: { firecrackerPath, firecrackerVersion: wanted, jailerPath: first, jailerVersion: versions[0] },
  });
}

function candidatesOf(firecrackerPath: string): string[] {
  return jailerPaths([firecrackerPath, realPath(firecrackerPath)], which('jailer'));
}

/** Where a jailer may be, the best first. @param firecrackerPaths a link to Firecracker, and where it leads */
export function jailerPaths(firecrackerPaths: readonly string[], onPath: string | undefined): string[] {
  const beside = firecrackerPaths.flatMap((path) => {
    const suffix = /^firecracker(-.+)$/.exec(basename(path))?.[1];
    return [...(suffix ? [`jailer${suffix}`] : []), 'jailer'].map((name) => join(dirname(path), name));
  });
  return [...new Set([...beside, onPath ?? []].flat())];
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
