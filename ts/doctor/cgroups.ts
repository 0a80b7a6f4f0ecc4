import { join } from 'node:path';
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
  const lines = ((await host.read('/proc/self/mountinfo')) ?? '').split('\n');
  const mounts = await Promise.all(lines.map((line) => mountOf(host, line)));
  const found = mounts.filter((mount) => mount !== undefined);
  const of = CONTROLLERS.map((controller) => [controller, found.find((mount) => has(mount, controller))]);
  return { mounts: found, of: Object.fromEntries(of) };
});

/** A line of mountinfo (proc_pid_mountinfo(5)). */
async function mountOf(host: Host, line: string): Promise<CgroupMount | undefined> {
  const [before, after] = line.split(' - ');
  const [, , , root, path] = before?.split(' ') ?? [];
  const [type, , options = ''] = after?.split(' ') ?? [];
  if (root === undefined || path === undefined || (type !== 'cgroup' && type !== 'cgroup2')) {
    return undefined;
  }
  if (type === 'cgroup') {
    return { version: 1, path, root, controllers: options.split(',') };
  }
  const controllers = (await host.read(join(path, 'cgroup.controllers'))) ?? '';
  return { version: 2, path, root, controllers: controllers.split(/\s+/) };
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
