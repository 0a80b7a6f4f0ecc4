import { CONTROLLERS, cgroupsOf } from '../cgroups.js';
import { type Check, fail, info, ok, type Result, warn } from '../finding.js';
import type { Host } from '../host.js';
import { programsOf } from '../programs.js';

const DOCS = 'https://github.com/firecracker-microvm/firecracker/blob/main/docs';

/** Kernels of hosts that Firecracker's own tests run on (its docs/kernel-policy.md). */
const KERNELS = ['5.10', '6.1', '6.18'];

export const PRODUCTION_CHECKS: readonly Check[] = [
  {
    id: 'ksm',
    area: 'production',
    title: 'KSM',
    about: "Kernel same-page merging is off: by it, one VM can learn what is in another's memory.",
    source: `${DOCS}/prod-host-setup.md#disable-kernel-samepage-merging`,
    run: checkKsm,
  },
  {
    id: 'swap',
    area: 'production',
    title: 'Swap',
    about: "There is no swap on a device or in a file, unless it is encrypted: guests' memory would be left on it.",
    source: `${DOCS}/prod-host-setup.md#disabling-swapping-to-disk-or-enabling-secure-swap`,
    run: checkSwap,
  },
  {
    id: 'cgroup',
    area: 'production',
    title: 'cgroups',
    about:
      'Version 2, and the controllers memory, pids, cpu and io. Warns of version 1, where limits on I/O do not hold for buffered writes; as root fails without memory and pids, which a jailed VM needs.',
    source: 'https://docs.kernel.org/admin-guide/cgroup-v2.html',
    run: checkCgroups,
  },
  {
    id: 'kernel',
    area: 'production',
    title: 'Kernel',
    about: `The host's kernel is one that Firecracker is tested on (${KERNELS.join(', ')}). Without Linux 5.12, files cannot be lent to a jail.`,
    source: `${DOCS}/kernel-policy.md`,
    run: checkKernel,
  },
  {
    id: 'kernel-log',
    area: 'production',
    title: 'Kernel log',
    about: "The host's kernel writes next to nothing to its console (`quiet loglevel=1`): a slow console slows VMs.",
    source: `${DOCS}/prod-host-setup.md#logging-and-performance`,
    run: checkKernelLog,
  },
];

async function checkKsm(host: Host): Promise<Result> {
  const [state, shared] = await Promise.all([
    host.read('/sys/kernel/mm/ksm/run'),
    host.read('/sys/kernel/mm/ksm/pages_shared'),
  ]);
  const remedy = 'echo 2 > /sys/kernel/mm/ksm/run, and disable ksm and ksmtuned';
  if (state === '1') {
    return warn('KSM is on', remedy);
  }
  if (state === '0' && Number(shared ?? 0) > 0) {
    return warn(`KSM is off, but ${shared} pages are still merged`, remedy);
  }
  return ok(state === undefined ? 'this kernel does not have it' : 'off');
}

async function checkSwap(host: Host): Promise<Result> {
  const lines = ((await host.read('/proc/swaps')) ?? '').split('\n').slice(1).filter(Boolean);
  const devices = lines.map((line) => line.split(/\s+/)[0] as string);
  const kinds = await Promise.all(devices.map(async (path) => ({ path, kind: await swapKind(host, path) })));
  const plain = kinds.filter(({ kind }) => kind === 'plain').map(({ path }) => path);
  if (plain.length > 0) {
    return warn(
      `${plain.join(', ')}: guests' memory may be written there`,
      'swapoff -a, and remove it from /etc/fstab',
    );
  }
  return ok(kinds.length === 0 ? 'none' : kinds.map(({ path, kind }) => `${path}: ${kind}`).join(', '));
}

async function swapKind(host: Host, path: string): Promise<'plain' | 'encrypted' | 'in memory'> {
  if (/^\/dev\/zram\d+$/.test(path)) {
    return 'in memory';
  }
  const name = /^\/dev\/(dm-\d+)$/.exec(path)?.[1];
  const uuid = name === undefined ? undefined : await host.read(`/sys/block/${name}/dm/uuid`);
  return uuid?.startsWith('CRYPT-') ? 'encrypted' : 'plain';
}

async function checkCgroups(host: Host): Promise<Result> {
  const { mounts, of } = await cgroupsOf(host);
  if (mounts.length === 0) {
    return (host.isRoot ? fail : warn)(
      'no cgroups are mounted: VMs cannot be limited',
      'mount -t cgroup2 none /sys/fs/cgroup',
    );
  }
  const missing = CONTROLLERS.filter((controller) => of[controller] === undefined);
  const version = (of.memory ?? mounts[0])?.version;
  const detail = `version ${version}, with ${CONTROLLERS.filter((controller) => of[controller]).join(', ') || 'no controller'}`;
  if (missing.length > 0) {
    const vital = missing.includes('memory') || missing.includes('pids');
    return (vital && host.isRoot ? fail : warn)(
      `${detail}; without ${missing.join(', ')}, which cannot be limited`,
      `delegate the controllers to where this runs (in a unit of systemd: Delegate=yes), or boot with cgroup_enable=${missing[0]}`,
    );
  }
  const directory = of.memory?.path ?? '/sys/fs/cgroup';
  const code = host.isRoot ? await host.writeProblem(directory) : undefined;
  if (code !== undefined) {
    return fail(`${detail}; but ${directory} cannot be written (${code})`, `mount -o remount,rw ${directory}`);
  }
  if (version === 1) {
    return warn(
      `${detail}; limits on I/O do not hold for what is written through the page cache`,
      'systemd.unified_cgroup_hierarchy=1 on the kernel command line',
    );
  }
  return host.isRoot ? ok(detail) : info(`${detail}; only VMs of root are limited`);
}

async function checkKernel(host: Host): Promise<Result> {
  const [release = '', { vmm }] = await Promise.all([host.read('/proc/sys/kernel/osrelease'), programsOf(host)]);
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  if (major === undefined || minor === undefined) {
    return info(`the kernel does not say its version (${release})`);
  }
  if (Number(major) < 5 || (Number(major) === 5 && Number(minor) < 12)) {
    return warn(`Linux ${release}: files cannot be lent to a jail (Linux 5.12 and newer can)`, 'a newer kernel');
  }
  if (KERNELS.includes(`${major}.${minor}`)) {
    return ok(`Linux ${release}, which Firecracker is tested on`);
  }
  const detail = `Linux ${release} is not one that Firecracker is tested on (${KERNELS.join(', ')})`;
  return vmm === 'firecracker' ? warn(detail, `a kernel of ${KERNELS.at(-1)}`) : info(`${detail}; QEMU does not mind`);
}

async function checkKernelLog(host: Host): Promise<Result> {
  const [printk, { vmm }] = await Promise.all([host.read('/proc/sys/kernel/printk'), programsOf(host)]);
  const level = Number(printk?.split(/\s+/)[0] ?? Number.NaN);
  if (Number.isNaN(level)) {
    return info('the level of the console is not to be learnt');
  }
  if (level <= 1) {
    return ok(`loglevel ${level}`);
  }
  const detail = `the kernel writes messages up to level ${level - 1} to its console`;
  const remedy = 'quiet loglevel=1 on the kernel command line; until the next boot: sysctl kernel.printk=1';
  return vmm === 'firecracker' ? warn(detail, remedy) : info(detail, remedy);
}
