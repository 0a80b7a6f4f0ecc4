import type { IRestoreOptions } from './restore.js';
import type { IMicroVMConfig } from './types.js';

/** `create`: a file that the VMM makes where there is none; `socket`: a socket that it makes. */
export type Access = 'read' | 'write' | 'create' | 'socket';

/** A file, device, socket or directory of the host that a VMM opens. */
export interface HostPath {
  readonly path: string;
  readonly access: Access;
}

/** Everything that a VMM opens for a configuration, in whatever field it stands. A jail has these and nothing else. */
export function configPaths(config: Partial<IMicroVMConfig>): HostPath[] {
  const { bootSource, drives = [], pmem = [], vsock, serial, logger, metrics } = config;
  return present([
    [bootSource?.kernelImagePath, 'read'],
    [bootSource?.initrdPath, 'read'],
    ...drives.map(({ pathOnHost, isReadOnly }) => entry(pathOnHost, isReadOnly ? 'read' : 'write')),
    ...drives.map(({ socket }) => entry(socket, 'write')),
    ...pmem.map(({ pathOnHost, isReadOnly }) => entry(pathOnHost, isReadOnly ? 'read' : 'write')),
    [vsock?.udsPath, 'socket'],
    [serial?.serialOutPath, 'create'],
    [logger?.logPath, 'create'],
    [metrics?.metricsPath, 'create'],
  ]);
}

/** As {@link configPaths}, for a start from a snapshot. What the snapshot itself names, only `devicePaths` says. */
export function restorePaths({
  snapshotPath,
  memBackend,
  vsockOverride,
  devicePaths = [],
}: IRestoreOptions): HostPath[] {
  return [
    ...present([
      [snapshotPath, 'read'],
      [memBackend.backendPath, memBackend.backendType === 'File' ? 'read' : 'write'],
      [vsockOverride?.udsPath, 'socket'],
    ]),
    ...devicePaths,
  ];
}

type Entry = readonly [path: string | undefined, access: Access];

const entry = (path: string | undefined, access: Access): Entry => [path, access];

function present(entries: readonly Entry[]): HostPath[] {
  return entries.flatMap(([path, access]) => (path === undefined ? [] : [{ path, access }]));
}
