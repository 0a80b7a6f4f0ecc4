import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { delay } from '../../util/deadline.js';
import { MOUNTINFO, parseMountinfo } from '../../util/mountinfo.js';
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
  'run where cgroups may be made at the root of the hierarchy (a container has to be given that), or take VMs without these ' +
  "limits: set jail.cgroups to 'none'";
const REMOVE_MS = 2_000;
const REMOVE_POLL_MS = 5;
/** What v1 calls them. */
const V1_NAMES: Readonly<Record<Controller, string>> = { memory: 'memory', cpu: 'cpu', pids: 'pids', io: 'blkio' };

/** No other VM's while the uid is leased. */
export function cgroupName(id: string, uid: number): string {
  return `${id}.${uid}`;
}

/** The cgroups of one VM, one in each hierarchy. */
export interface VmCgroups {
  readonly directories: readonly string[];
  /** Removes them, when their processes have ended. */
  remove(): Promise<void>;
}

/**
 * Makes the cgroups of a VM with their limits, for its VMM to join.
 * @param mountinfo where the host says what is mounted where
 * @throws SmartVMError CGROUP_UNAVAILABLE
 */
export async function makeCgroups(name: string, limits: CgroupLimits, mountinfo = MOUNTINFO): Promise<VmCgroups> {
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
      const directory = join(hierarchy.mountPoint, PARENT, name);
      directories.push(directory);
      await make(directory, hierarchy, limits);
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
export async function cgroupsNamed(name: string, mountinfo = MOUNTINFO): Promise<string[]> {
  const mounts = parseMountinfo(await readFile(mountinfo, 'utf8')).filter(({ type }) => /^cgroup2?$/.test(type));
  return mounts.map(({ point }) => join(point, PARENT, name)).filter(existsSync);
}

async function findHierarchies(mountinfo: string): Promise<Hierarchy[]> {
  const hierarchies: Hierarchy[] = [];
  const found = new Set<Controller>();
  for (const { type, point: mountPoint, superOptions } of parseMountinfo(await readFile(mountinfo, 'utf8'))) {
    const offered =
      type === 'cgroup2'
        ? (await readFile(join(mountPoint, 'cgroup.controllers'), 'utf8')).trim().split(/\s+/)
        : type === 'cgroup'
          ? superOptions
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

/** A dozen calls to the kernel, each shorter than to wait for another thread to make it. */
async function make(directory: string, hierarchy: Hierarchy, limits: CgroupLimits): Promise<void> {
  const { version, mountPoint, controllers } = hierarchy;
  const parent = dirname(directory);
  mkdirSync(parent, { recursive: true });
  if (version === 2) {
    // A controller is there for children only where each folder above says so.
    for (const folder of [mountPoint, parent]) {
      enable(folder, controllers);
    }
  }
  await makeAnew(directory);
  for (const controller of controllers) {
    for (const [file, value] of limits[version][controller]) {
      set(join(directory, file), value);
    }
  }
}

async function makeAnew(directory: string): Promise<void> {
  try {
    mkdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw error;
    }
    await removeCgroup(directory); // a crash left it: whoever has the uid now has the name
    mkdirSync(directory);
  }
}

/** Never makes a file: on a kernel that does not account for swap there is none for it, and none is needed. */
function set(file: string, value: string): void {
  try {
    writeFileSync(file, value, { flag: 'r+' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || basename(file) !== 'memory.swap.max') {
      throw error;
    }
  }
}

function enable(folder: string, controllers: readonly Controller[]): void {
  const file = join(folder, 'cgroup.subtree_control');
  const enabled = readFileSync(file, 'utf8').trim().split(/\s+/);
  const missing = controllers.filter((one) => !enabled.includes(one));
  if (missing.length > 0) {
    writeFileSync(file, missing.map((one) => `+${one}`).join(' '));
  }
}

/**
 * The kernel removes no cgroup that has a process, be it one that has ended and is not yet reaped. Nothing lives there any more, for
 * the VMM was the first process of its namespace; so it is a matter of moments.
 */
export async function removeCgroup(path: string): Promise<void> {
  for (const deadline = performance.now() + REMOVE_MS; ; await delay(REMOVE_POLL_MS)) {
    try {
      return await rmdir(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') {
        return;
      }
      if (code !== 'EBUSY' || performance.now() > deadline) {
        throw error;
      }
    }
  }
}
