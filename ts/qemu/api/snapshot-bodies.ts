import { boolean, type Decoded, defaulted, list, oneOf, optional, path, string, struct } from './decoder.js';

export const snapshotCreate = struct(
  'CreateSnapshotParams',
  { snapshot_type: defaulted(oneOf('Diff', 'Full'), 'Full'), snapshot_path: path, mem_file_path: path },
  'refuse',
);

const memBackend = struct('MemBackendConfig', { backend_path: path, backend_type: oneOf('File', 'Uffd') }, 'refuse');

const networkOverride = struct('NetworkOverride', { iface_id: string, host_dev_name: string }, 'ignore');

export const snapshotLoad = struct(
  'LoadSnapshotConfig',
  {
    snapshot_path: path,
    mem_file_path: optional(path),
    mem_backend: optional(memBackend),
    enable_diff_snapshots: defaulted(boolean, false),
    track_dirty_pages: defaulted(boolean, false),
    resume_vm: defaulted(boolean, false),
    network_overrides: defaulted(list(networkOverride), []),
    vsock_override: optional(struct('VsockOverride', { uds_path: string }, 'ignore')),
    clock_realtime: defaulted(boolean, false),
    huge_pages: defaulted(oneOf('Snapshot', 'None', 'Transparent', '2M'), 'Snapshot'),
  },
  'refuse',
);

export type SnapshotCreate = Decoded<typeof snapshotCreate>;
type LoadBody = Decoded<typeof snapshotLoad>;

/** A load, with the two ways to name its memory and the two to ask for dirty tracking made one. */
export interface SnapshotLoad
  extends Omit<LoadBody, 'mem_file_path' | 'mem_backend' | 'enable_diff_snapshots' | 'track_dirty_pages'> {
  readonly mem_backend: Decoded<typeof memBackend>;
  readonly track_dirty_pages: boolean;
}

/** Undefined when the body names the memory in both ways or in none. */
export function normalizedLoad(body: LoadBody): SnapshotLoad | undefined {
  const { mem_file_path, mem_backend, enable_diff_snapshots, track_dirty_pages, ...rest } = body;
  const backend = mem_backend ?? (mem_file_path === null ? null : fileBackend(mem_file_path));
  if (backend === null || (mem_backend !== null && mem_file_path !== null)) {
    return undefined;
  }
  return { ...rest, mem_backend: backend, track_dirty_pages: enable_diff_snapshots || track_dirty_pages };
}

const fileBackend = (backend_path: string) => ({ backend_path, backend_type: 'File' }) as const;
