import { MAX_SOCKET_PATH_BYTES } from '../util/socket-path.js';
import type { HostPath } from './host-paths.js';
import { INTERFACE_NAME_RULE, isValidHostDevice, isValidResourceId, RESOURCE_ID_RULE } from './ids.js';
import { compact } from './payloads.js';
import type { Since } from './since.js';
import { assertOptions } from './validation/assert-options.js';
import {
  type Check,
  flag,
  hostPath,
  isRecord,
  list,
  object,
  oneOf,
  reportDuplicates,
  rule,
  text,
} from './validation/checks.js';

/** Where the memory of a restored VM comes from. */
export interface IMemoryBackend {
  /** 'File' maps a memory file privately; 'Uffd' has a process serve the page faults. */
  backendType: 'File' | 'Uffd';
  /** The memory file, which must stay as it is for the VM's life; or the socket of the page fault handler. */
  backendPath: string;
}

/** How a VM starts from a snapshot in place of a kernel. Its hardware is in the snapshot. */
export interface IRestoreOptions {
  /** The VMM state that `createSnapshot()` wrote. */
  snapshotPath: string;
  memBackend: IMemoryBackend;
  /** Lets the guest run at once; else the VM is paused when its start resolves. Default true. */
  resume?: boolean | undefined;
  /** Needed for differential snapshots of the restored VM. */
  trackDirtyPages?: boolean | undefined;
  /** TAPs for the guest's interfaces, where they differ from those in the snapshot. Firecracker ≥ 1.12. */
  networkOverrides?: { ifaceId: string; hostDevName: string }[] | undefined;
  /** Another path for the vsock socket. Firecracker ≥ 1.16. */
  vsockOverride?: { udsPath: string } | undefined;
  /** Sets the guest's kvm-clock forward by the time since the snapshot; x86_64. Firecracker ≥ 1.16. */
  clockRealtime?: boolean | undefined;
  /** What backs the guest's memory; '2M' needs 'Uffd'. Default: as in the snapshot. Firecracker ≥ 1.17. */
  hugePages?: 'Snapshot' | 'None' | 'Transparent' | '2M' | undefined;
  /**
   * The files of the drives that the snapshot names, and the folder of its vsock socket where that is not given another path: a
   * jailed VMM can open what it is told of here, and the snapshot's state is the VMM's to read alone.
   */
  devicePaths?: readonly HostPath[] | undefined;
}

export interface RestorePayload {
  snapshot_path: string;
  mem_backend: { backend_type: 'File' | 'Uffd'; backend_path: string };
  resume_vm: boolean;
  track_dirty_pages?: boolean;
  network_overrides?: { iface_id: string; host_dev_name: string }[];
  vsock_override?: { uds_path: string };
  clock_realtime?: boolean;
  huge_pages?: 'Snapshot' | 'None' | 'Transparent' | '2M';
}

/** Of Firecracker's CHANGELOG.md; `trackDirtyPages` by the sources of 1.12 and 1.13. */
export const RESTORE_SINCE: readonly Since[] = [
  { field: 'restore.memBackend', version: '1.1' },
  { field: 'restore.networkOverrides', version: '1.12' },
  { field: 'restore.trackDirtyPages', version: '1.13' },
  { field: 'restore.vsockOverride', version: '1.16' },
  { field: 'restore.clockRealtime', version: '1.16' },
  { field: 'restore.hugePages', version: '1.17' },
];

const MAX_UDS_PATH_BYTES = MAX_SOCKET_PATH_BYTES - '_65535'.length;

const fields = object<IRestoreOptions>(
  {
    snapshotPath: hostPath,
    memBackend: object<IMemoryBackend>({ backendType: oneOf('File', 'Uffd'), backendPath: hostPath }, [
      'backendType',
      'backendPath',
    ]),
    resume: flag,
    trackDirtyPages: flag,
    networkOverrides: list(
      object<{ ifaceId: string; hostDevName: string }>(
        {
          ifaceId: rule(isValidResourceId, RESOURCE_ID_RULE),
          hostDevName: rule(isValidHostDevice, INTERFACE_NAME_RULE),
        },
        ['ifaceId', 'hostDevName'],
      ),
    ),
    vsockOverride: object<{ udsPath: string }>({ udsPath: text({ maxBytes: MAX_UDS_PATH_BYTES }) }, ['udsPath']),
    clockRealtime: flag,
    hugePages: oneOf('Snapshot', 'None', 'Transparent', '2M'),
    devicePaths: list(
      object<HostPath>({ path: hostPath, access: oneOf('read', 'write', 'create') }, ['path', 'access']),
    ),
  },
  ['snapshotPath', 'memBackend'],
);

const restoreOptions: Check = (value, path, report) => {
  fields(value, path, report);
  if (!isRecord(value)) {
    return;
  }
  reportDuplicates(value.networkOverrides, `${path}.networkOverrides`, 'ifaceId', report);
  reportDuplicates(value.networkOverrides, `${path}.networkOverrides`, 'hostDevName', report);
  if (!isRecord(value.memBackend)) {
    return;
  }
  const { backendType, backendPath } = value.memBackend;
  if (backendType === 'File' && value.hugePages === '2M') {
    report(`${path}.hugePages`, 'must not be 2M with a memory file: huge pages are filled by a page fault handler');
  }
  if (
    backendType === 'Uffd' &&
    typeof backendPath === 'string' &&
    Buffer.byteLength(backendPath) > MAX_SOCKET_PATH_BYTES
  ) {
    report(`${path}.memBackend.backendPath`, `must be at most ${MAX_SOCKET_PATH_BYTES} bytes, as a socket's path`);
  }
};

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertRestoreOptions(options: IRestoreOptions): void {
  assertOptions(restoreOptions, options, 'restore');
}

/** Body of `PUT /snapshot/load`. */
export function restorePayload(options: IRestoreOptions): RestorePayload {
  return compact({
    snapshot_path: options.snapshotPath,
    mem_backend: { backend_type: options.memBackend.backendType, backend_path: options.memBackend.backendPath },
    resume_vm: options.resume ?? true,
    track_dirty_pages: options.trackDirtyPages,
    network_overrides: options.networkOverrides?.map(({ ifaceId, hostDevName }) => ({
      iface_id: ifaceId,
      host_dev_name: hostDevName,
    })),
    vsock_override: options.vsockOverride && { uds_path: options.vsockOverride.udsPath },
    clock_realtime: options.clockRealtime,
    huge_pages: options.hugePages,
  });
}
