import { type CgroupMount, cgroupDirectory, cgroupsOf } from './cgroups.js';
import type { Host } from './host.js';
import type { RunningVm } from './running-vms.js';

/** What the kernel's own default comes to, on many hosts, is more: a limit below this was set for the VM. */
const MANY_FILES = 65_535;
/** Version 1 says "no limit" by the greatest multiple of a page below 2^63. */
const NO_LIMIT_V1 = 2 ** 62;

/** Which limits a VM lacks, in words; none when it has all. */
export async function limitProblems(host: Host, { processes }: RunningVm): Promise<string[]> {
  const { of } = await cgroupsOf(host);
  const each = processes.map(async ({ pid, program }) => {
    const [cgroups = '', limits = ''] = await Promise.all([
      host.read(`/proc/${pid}/cgroup`),
      host.read(`/proc/${pid}/limits`),
    ]);
    const [memory, pids] = await Promise.all([
      isLimited(host, cgroups, of.memory, 'memory'),
      isLimited(host, cgroups, of.pids, 'pids'),
    ]);
    return [
      ...(memory ? [] : ['its memory is not limited']),
      ...(pids ? [] : ['its number of processes is not limited']),
      ...openFilesProblem(limits, program),
    ];
  });
  return [...new Set((await Promise.all(each)).flat())];
}

async function isLimited(
  host: Host,
  procCgroup: string,
  mount: CgroupMount | undefined,
  controller: 'memory' | 'pids',
): Promise<boolean> {
  const directory = mount && cgroupDirectory(procCgroup, mount, controller);
  if (mount === undefined || directory === undefined || directory === mount.path) {
    return false;
  }
  const file = mount.version === 1 && controller === 'memory' ? 'memory.limit_in_bytes' : `${controller}.max`;
  const limit = await host.read(`${directory}/${file}`);
  return limit !== undefined && limit !== 'max' && Number(limit) < NO_LIMIT_V1;
}

function openFilesProblem(limits: string, program: string): string[] {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  if (hard === undefined) {
    return [`the limits of ${program} cannot be seen`];
  }
  return Number(hard) <= MANY_FILES ? [] : [`${program} may open ${hard} files`];
}
