import { existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { HostPath } from '../../config/host-paths.js';
import type { JailLimits } from '../../config/jail.js';
import { PACKAGE_ROOT } from '../../util/package-root.js';
import { processLimits } from './limits.js';

/** A path of the host that stands at the same place in the jail. */
interface Mount {
  readonly path: string;
  readonly writable: boolean;
  readonly recursive?: boolean;
}

/** What the keeper reads from jail.json; docs/jail.md has the meaning of each. */
export interface JailSpec {
  readonly base: string;
  readonly root: string;
  readonly uid: number;
  readonly gid: number;
  readonly mounts: readonly Mount[];
  readonly links?: Readonly<Record<string, string>>;
  readonly cgroups: readonly string[];
  readonly privateNetwork: boolean;
  readonly networkNamespace?: string | undefined;
  readonly taps: readonly string[];
  readonly stderrFifo: string;
  readonly enter: {
    readonly devices: readonly string[];
    readonly proc: boolean;
    readonly tmpBytes: number;
    readonly openFiles: number;
    readonly fileSizeBytes: number;
    readonly hostname: string;
  } | null;
}

/** What a VMM finds in its jail, and how it gets there. */
export interface View extends Pick<JailSpec, 'root' | 'mounts' | 'links' | 'enter'> {
  readonly command: (args: readonly string[]) => [string, ...string[]];
}

export interface ViewRequest {
  readonly id: string;
  readonly executable: string;
  readonly uid: number;
  /** Where the jail's tmpfs is mounted. */
  readonly base: string;
  /** What the VMM opens. */
  readonly paths: readonly HostPath[];
  readonly limits: JailLimits;
}

const TMP_BYTES = 64 * 2 ** 20;
/** Where dynamic executables of a Linux system have what they load. */
const SYSTEM_PATHS = [
  '/nix/store',
  '/gnu/store',
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/etc/alternatives',
  '/etc/ld.so.cache',
];
const PACKAGE_PATHS = ['bin', 'dist', 'package.json'];
const DEVICES = ['/dev/null', '/dev/zero', '/dev/random', '/dev/urandom', '/dev/kvm', '/dev/net/tun'];

/** Firecracker enters by its jailer, which copies it into the root, makes its devices, and drops to the uid. */
export function firecrackerView(request: ViewRequest, jailer: string): View {
  const { id, executable, uid, base, paths, limits } = request;
  const { openFiles, fileSizeBytes } = processLimits(limits);
  const identity = ['--id', id, '--uid', String(uid), '--gid', String(uid)];
  const resources = ['--resource-limit', `no-file=${openFiles}`, '--resource-limit', `fsize=${fileSizeBytes}`];
  return {
    // The jailer's own rule, which it has no option for.
    root: join(base, basename(realpathSync(executable)), id, 'root'),
    mounts: paths.map(mountOf),
    enter: null,
    command: (args) => [
      jailer,
      ...identity,
      ...['--exec-file', executable, '--chroot-base-dir', base],
      ...resources,
      '--',
      ...withoutId(args),
    ],
  };
}

/** smartvm-qemu finds the host's programs and libraries, this package and Node, all read-only, and the files of its VM. */
export function qemuView({ executable, base, paths, limits }: ViewRequest): View {
  const node = realpathSync(process.execPath);
  const present = SYSTEM_PATHS.filter((path) => existsSync(path));
  const links = present.filter((path) => lstatSync(path).isSymbolicLink());
  const readOnly = [
    ...present.filter((path) => !links.includes(path)),
    node,
    ...PACKAGE_PATHS.map((name) => join(PACKAGE_ROOT, name)),
  ];
  return {
    root: join(base, 'root'),
    mounts: [...readOnly.map((path) => ({ path, writable: false, recursive: true })), ...paths.map(mountOf)],
    links: Object.fromEntries(links.map((path) => [path, readlinkSync(path)])),
    enter: { devices: DEVICES, proc: true, tmpBytes: TMP_BYTES, hostname: 'smartvm', ...processLimits(limits) },
    command: (args) => [node, executable, ...args],
  };
}

/** The jailer gives its own `--id` on to Firecracker, which takes one. */
function withoutId(args: readonly string[]): string[] {
  const index = args.indexOf('--id');
  return index < 0 ? [...args] : args.toSpliced(index, 2);
}

function mountOf({ path, access }: HostPath): Mount {
  return { path, writable: access !== 'read' };
}

/** Folders whose every entry the VMM may make anew, such as its own, have their contents by the same mount. */
export function isCovered(path: string, folder: string): boolean {
  return dirname(path) === folder;
}
