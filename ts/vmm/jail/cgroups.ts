import { existsSync } from 'node:fs';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import type { CgroupLimits } from './limits.js';

/** The controllers whose limits a VM has. */
const CONTROLLERS = ['memory', 'cpu', 'pids', 'io'] as const;
type Controller = (typeof CONTROLLERS)[number];

/** Where a controller is mounted. A host has all of them in one hierarchy (v2), each in its own (v1), or some of both. */
interface Hierarchy {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  readonly controllers: Controller[];
}

/** Our folder in each hierarchy; that of a VM is below it. */
const PARENT = 'smartvm';
const REMEDY =
  "give this program's cgroup the controllers (Delegate=yes in its systemd unit), or set jail.cgroups to 'none'";
/** What v1 calls them. */
const V1_NAMES: Readonly<Record<Controller, string>> = { memory: 'memory', cpu: 'cpu', pids: 'pids', io: 'blkio' };

/** No other VM's while the uid is leased. */
export function cgroupName(id: string, uid: number): string {
  return `${id}.${uid}`;
}

/** The cgroups of one VM, one in each hierarchy. */
export interface VmCgroups {
  readonly directories: readonly string[];
  /** Removes them; those whose processes still live stay. */
  remove(): Promise<void>;
}

/**
 * Makes the cgroups of a VM with their limits, for its VMM to join.
 * @param mountinfo where the host says what is mounted where
 * @throws SmartVMError CGROUP_UNAVAILABLE
 */
export async function makeCgroups(
  name: string,
  limits: CgroupLimits,
  mountinfo = '/proc/self/mountinfo',
): Promise<VmCgroups> {
  const hierarchies = await findHierarchies(mountinfo);
  const missing = CONTROLLERS.filter((one) => !hierarchies.some(({ controllers }) => controllers.includes(one)));
  if (missing.length > 0) {
    throw new SmartVMError('CGROUP_UNAVAILABLE', `no cgroup controller for ${missing.join(', ')}; ${REMEDY}`);
  }
  const directories: string[] = [];
  const remove = async () => {
    await Promise.all(directories.map(removeCgroup));
  };
  try {
    for (const hierarchy of hierarchies) {
      directories.push(await makeIn(hierarchy, name, limits));
    }
  } catch (cause) {
    await remove();
    const { message, path } = cause as NodeJS.ErrnoException;
    throw new SmartVMError('CGROUP_UNAVAILABLE', `cannot limit a VM by ${path ?? 'cgroups'}: ${message}; ${REMEDY}`, {
      cause,
    });
  }
  return { directories, remove };
}

/** Those of a VM that are there, in whatever hierarchy. */
export async function cgroupsNamed(name: string, mountinfo = '/proc/self/mountinfo'): Promise<string[]> {
  const lines = (await readFile(mountinfo, 'utf8')).split('\n').map((line) => line.split(' - '));
  const mounts = lines
    .filter(([, after = '']) => /^cgroup2? /.test(after))
    .map(([before = '']) => before.split(' ')[4]);
  return mounts.flatMap((mount) => (mount === undefined ? [] : [join(mount, PARENT, name)])).filter(existsSync);
}

async function findHierarchies(mountinfo: string): Promise<Hierarchy[]> {
  const hierarchies: Hierarchy[] = [];
  const found = new Set<Controller>();
  for (const line of (await readFile(mountinfo, 'utf8')).split('\n')) {
    // proc_pid_mountinfo(5): the fifth field is the mount point; behind the hyphen stand type, source and options.
    const [before = '', after = ''] = line.split(' - ');
    const mountPoint = before.split(' ')[4] ?? '';
    const [type, , options = ''] = after.split(' ');
    const offered =
      type === 'cgroup2'
        ? (await readFile(join(mountPoint, 'cgroup.controllers'), 'utf8')).trim().split(/\s+/)
        : type === 'cgroup'
          ? options.split(',')
          : [];
    const version = type === 'cgroup2' ? 2 : 1;
    const controllers = CONTROLLERS.filter(
      (one) => !found.has(one) && offered.includes(version === 2 ? one : V1_NAMES[one]),
    );
    if (controllers.length > 0) {
      hierarchies.push({ version, mountPoint, controllers });
      controllers.map((one) => found.add(one));
    }
  }
  return hierarchies;
}

async function makeIn({ version, mountPoint, controllers }: Hierarchy, name: string, limits: CgroupLimits) {
  const parent = join(mountPoint, PARENT);
  await mkdir(parent, { recursive: true });
  if (version === 2) {
    // A controller is there for children only where each folder above says so.
    for (const folder of [mountPoint, parent]) {
      await enable(folder, controllers);
    }
  }
  const directory = join(parent, name);
  await removeCgroup(directory); // one of that name is a crash's: whoever has the uid now has the name
  await mkdir(directory);
  for (const controller of controllers) {
    for (const [file, value] of limits[version][controller]) {
      await set(join(directory, file), value);
    }
  }
  return directory;
}

/** Never makes a file: on a kernel that does not account for swap there is none for it, and none is needed. */
async function set(file: string, value: string): Promise<void> {
  await writeFile(file, value, { flag: 'r+' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' || basename(file) !== 'memory.swap.max') {
      throw error;
    }
  });
}

async function enable(folder: string, controllers: readonly Controller[]): Promise<void> {
  const file = join(folder, 'cgroup.subtree_control');
  const enabled = (await readFile(file, 'utf8')).trim().split(/\s+/);
  const missing = controllers.filter((one) => !enabled.includes(one));
  if (missing.length > 0) {
    await writeFile(file, missing.map((one) => `+${one}`).join(' '));
  }
}

/** The kernel removes no cgroup in which something lives; whoever calls has seen to it that nothing does. */
export async function removeCgroup(path: string): Promise<void> {
  await rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') {
      throw error;
    }
  });
}
