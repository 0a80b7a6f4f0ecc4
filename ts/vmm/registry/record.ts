import { isValidInterfaceName, isValidVmId } from '../../config/ids.js';
import type { ImageConfig } from '../../config/image-config.js';
import { tagChecks } from '../../config/labels.js';
import type { IMicroVMConfig } from '../../config/types.js';
import {
  type Check,
  errorsOf,
  flag,
  hostPath,
  integer,
  isRecord,
  list,
  object,
  oneOf,
  rule,
  text,
} from '../../config/validation/checks.js';
import { isHeldFile } from '../../util/held-file.js';
import type { ProcessIdentity } from '../../util/process-identity.js';
import { parseSafeJson } from '../../util/safe-json.js';
import type { VmmKind } from '../find.js';
import { parseVersioned, RECORD_VERSION, UnreadableRecord } from './unreadable-record.js';

export { MAX_RECORD_BYTES, RECORD_VERSION, type RecordProblem, UnreadableRecord } from './unreadable-record.js';

/** What a VM has on the host outside its directory, written down before it is made. Leases are told by their own entries. */
export interface Journal {
  /** The VMM's own, leased. */
  readonly uid?: number | undefined;
  /** Name of the VM's cgroup below ours, in each hierarchy. */
  readonly cgroup?: string | undefined;
  /** TAPs made for the VM. */
  readonly taps: readonly string[];
  /** Unix sockets that the VMM makes. */
  readonly sockets: readonly string[];
  /** Files that hold what the VM writes, outside its directory; see util/held-file.ts. */
  readonly layers?: readonly string[] | undefined;
}

/** A VM as its directory's `vm.json` tells it to every program: who made it, what it is, and what it holds of the host. */
export interface VmRecord {
  readonly version: typeof RECORD_VERSION;
  readonly id: string;
  readonly name?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Name of the image that it was launched from. */
  readonly image?: string | undefined;
  /** What its image says of the programs in it. */
  readonly imageConfig?: ImageConfig | undefined;
  /** ISO 8601. For people: nothing is judged by it. */
  readonly createdAt: string;
  /** The program that made it. */
  readonly owner: ProcessIdentity;
  /** Whether the VM lives on without its owner; true once its start is through. */
  readonly detached: boolean;
  /** Whether its keeper removes the directory when it ends. */
  readonly removeOnExit?: boolean | undefined;
  readonly vmm: { readonly kind?: VmmKind | undefined; readonly path: string };
  readonly socketPath: string;
  /** Whether it came out of a snapshot, which has the rest of the configuration. */
  readonly restored: boolean;
  /** Without what the metadata service holds, which may be secret. */
  readonly config: Partial<IMicroVMConfig>;
  readonly journal: Journal;
  /** The keeper from the first moment, when it has nothing to keep yet; the VMM once there is one. */
  readonly processes?: { readonly keeper: ProcessIdentity; readonly vmm?: ProcessIdentity | undefined } | undefined;
}

export const EMPTY_JOURNAL: Journal = { taps: [], sockets: [] };

/** The configuration as it may be written down. */
export function withoutSecrets(config: Partial<IMicroVMConfig>): Partial<IMicroVMConfig> {
  const { mmds, ...rest } = config;
  const { contents: _secret, ...shown } = mmds ?? {};
  return mmds === undefined ? rest : { ...rest, mmds: shown as NonNullable<IMicroVMConfig['mmds']> };
}

export function renderRecord(record: VmRecord): string {
  return `${JSON.stringify(record, undefined, 2)}\n`;
}

/** @param id what the directory is called @throws UnreadableRecord */
export function parseRecord(content: string, id: string): VmRecord {
  const value = parseVersioned(content, parseSafeJson);
  const errors = errorsOf(record, value);
  if (errors.length > 0) {
    throw new UnreadableRecord('corrupt', errors.slice(0, 8).join('; '));
  }
  const parsed = value as VmRecord;
  if (parsed.id !== id) {
    throw new UnreadableRecord('corrupt', `it is of VM ${parsed.id}`);
  }
  return parsed;
}

const word = text({ maxBytes: 64 });
const path = rule(
  (value) => value.startsWith('/') && !value.includes('\0') && value.length < 4096,
  'must be a path from the root on',
);
const anything: Check = (value, where, report) => {
  if (!isRecord(value)) {
    report(where, 'must be an object');
  }
};
const identity = object<ProcessIdentity>(
  { pid: integer(1), startTime: rule((ticks) => /^\d{1,20}$/.test(ticks), 'must be a number of ticks'), bootId: word },
  ['pid', 'startTime', 'bootId'],
);

const record = object<VmRecord>(
  {
    version: integer(RECORD_VERSION, RECORD_VERSION),
    id: rule(isValidVmId, 'must be the id of a VM'),
    ...tagChecks,
    imageConfig: anything,
    createdAt: word,
    owner: identity,
    detached: flag,
    removeOnExit: flag,
    vmm: object<VmRecord['vmm']>({ kind: oneOf('firecracker', 'qemu'), path: hostPath }, ['path']),
    socketPath: path,
    restored: flag,
    config: anything,
    journal: object<Journal>(
      {
        uid: integer(1, 2 ** 32 - 2),
        cgroup: rule((name) => /^[\w-]+\.\d+$/.test(name), 'must be the name of a cgroup'),
        taps: list(rule(isValidInterfaceName, 'must be the name of an interface')),
        sockets: list(path),
        layers: list(rule(isHeldFile, 'must be the path of a layer')),
      },
      ['taps', 'sockets'],
    ),
    processes: object<NonNullable<VmRecord['processes']>>({ keeper: identity, vmm: identity }, ['keeper']),
  },
  ['version', 'id', 'createdAt', 'owner', 'detached', 'vmm', 'socketPath', 'restored', 'config', 'journal'],
);
