import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Arch, hostArch } from './host.js';

/**
 * What `smartvm install` fetches where no other version is asked for. 1.16 is the first whose snapshots can be given another vsock socket;
 * in 1.16.0 vsock is dead after a restore. None of the known faults (advisories.ts) is in 1.16.1.
 */
export const FIRECRACKER_VERSION = '1.16.1';

/** Where releases of Firecracker are kept in a data folder: `firecracker-v<version>-<arch>` and `jailer-v<version>-<arch>`. */
export function releaseFolder(dataDir: string): string {
  return join(dataDir, 'bin');
}

export type ReleaseProgram = 'firecracker' | 'jailer';

export function releaseFileName(program: ReleaseProgram, version: string, arch: Arch = hostArch()): string {
  return `${program}-v${version}-${arch}`;
}

/** A Firecracker in a folder of releases. */
export interface ReleaseFile {
  readonly version: string;
  readonly path: string;
}

/** The newest Firecracker in the folder; undefined when there is none, or when others could have put one there. */
export function newestFirecracker(folder: string): ReleaseFile | undefined {
  if (!isOurs(folder)) {
    return undefined;
  }
  const versions = readdirSync(folder).flatMap((name) => {
    const [, version, arch] = /^firecracker-v(\d+\.\d+\.\d+)-(\w+)$/.exec(name) ?? [];
    return version !== undefined && arch === hostArch() ? [version] : [];
  });
  return versions
    .sort((a, b) => -compareVersions(a, b))
    .map((version) => ({ version, path: join(folder, releaseFileName('firecracker', version)) }))
    .find(({ path }) => isExecutable(path));
}

/** By their three numbers. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number));
  return [0, 1, 2].map((part) => (x?.[part] ?? 0) - (y?.[part] ?? 0)).find((difference) => difference !== 0) ?? 0;
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** What is in a folder that belongs to another user, or that others may write to, is not run. */
function isOurs(folder: string): boolean {
  const stat = statSync(folder, { throwIfNoEntry: false });
  return (
    stat?.isDirectory() === true && (stat.uid === process.getuid?.() || stat.uid === 0) && (stat.mode & 0o022) === 0
  );
}
