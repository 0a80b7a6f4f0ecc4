import { join } from 'node:path';
import { MOUNTINFO, type Mount, parseMountinfo } from '../util/mountinfo.js';
import { type Host, perHost } from './host.js';

/** Controllers that limit a VM, by their names in version 2. */
export const CONTROLLERS = ['memory', 'pids', 'cpu', 'io'] as const;
export type Controller = (typeof CONTROLLERS)[number];

export interface CgroupMount {
  readonly version: 1 | 2;
  readonly path: string;
  /** Which cgroup is mounted there: not `/` in some containers. */
  readonly root: string;
  readonly controllers: readonly string[];
}

export interface Cgroups {
  readonly mounts: readonly CgroupMount[];
  /** Where each controller can be used; none that is not at hand. */
  readonly of: Readonly<Partial<Record<Controller, CgroupMount>>>;
}

/** The cgroup hierarchies of this host. */
export const cgroupsOf = perHost(async (host: Host): Promise<Cgroups> => {
  const mounts = await Promise.all(
    parseMountinfo((await host.read(MOUNTINFO)) ?? '').map((mount) => hierarchyOf(host, mount)),
  );
  const found = mounts.filter((mount) => mount !== undefined);
  const of = CONTROLLERS.map((controller) => [controller, found.find((mount) => has(mount, controller))]);
  return { mounts: found, of: Object.fromEntries(of) };
});

async function hierarchyOf(host: Host, { type, point, root, superOptions }: Mount): Promise<CgroupMount | undefined> {
  if (type === 'cgroup') {
    return { version: 1, path: point, root, controllers: superOptions };
  }
  if (type !== 'cgroup2') {
    return undefined;
  }
  const controllers = (await host.read(join(point, 'cgroup.controllers'))) ?? '';
  return { version: 2, path: point, root, controllers: controllers.split(/\s+/) };
}

function has({ version, controllers }: CgroupMount, controller: Controller): boolean {
  return controllers.includes(version === 1 && controller === 'io' ? 'blkio' : controller);
}

/** The directory of a process's cgroup in the hierarchy of a controller; undefined when it is not to be seen from here. */
export function cgroupDirectory(procCgroup: string, mount: CgroupMount, controller: Controller): string | undefined {
  for (const line of procCgroup.split('\n')) {
    const [, controllers = '', ...rest] = line.split(':');
    const isIt = mount.version === 2 ? controllers === '' : controllers.split(',').includes(controller);
    const path = rest.join(':');
    if (isIt && path.startsWith(mount.root) && !path.startsWith('/..')) {
      return join(mount.path, path.slice(mount.root.length));
    }
  }
  return undefined;
}
