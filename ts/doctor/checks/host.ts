import { type Check, fail, info, ok, type Result, warn } from '../finding.js';
import type { Host } from '../host.js';
import { programsOf } from '../programs.js';

export const HOST_CHECKS: readonly Check[] = [
  {
    id: 'kvm',
    area: 'host',
    title: 'KVM',
    about:
      '`/dev/kvm` opens, and the processor shows `vmx` or `svm` (on aarch64 it is enough that it opens). No fault where QEMU stands in.',
    run: checkKvm,
  },
  {
    id: 'tap',
    area: 'host',
    title: 'TAP devices',
    about: '`/dev/net/tun` opens: networks of VMs need it.',
    run: checkTap,
  },
  {
    id: 'jail',
    area: 'host',
    title: 'Jail',
    about: 'VMMs run jailed, each as a user of its own: only root can do that. It warns every other user.',
    run: async (host) => checkJail(host),
  },
];

async function checkKvm(host: Host): Promise<Result> {
  const [problem, { vmm }] = await Promise.all([kvmProblem(host), programsOf(host)]);
  if (problem === undefined) {
    return ok('/dev/kvm opens, and the processor can run guests');
  }
  return vmm === 'qemu'
    ? info(`${problem}; QEMU emulates the processor instead, which is slower`)
    : fail(problem, 'mend that, or install QEMU, which works without KVM: smartvm install --with-deps');
}

async function kvmProblem(host: Host): Promise<string | undefined> {
  const problem = await host.kvmProblem();
  const code = problem === undefined ? await host.openProblem('/dev/kvm') : undefined;
  return code === undefined ? problem : `/dev/kvm cannot be opened (${code}): is kvm_intel or kvm_amd loaded?`;
}

function checkJail({ isRoot }: Host): Result {
  return isRoot
    ? ok('VMMs run jailed, each as a user of its own')
    : warn('VMMs run unjailed, with all the rights of this user: only root can jail them', 'run SmartVM as root');
}

async function checkTap(host: Host): Promise<Result> {
  const code = await host.openProblem('/dev/net/tun');
  if (code === undefined) {
    return host.isRoot
      ? ok('/dev/net/tun opens')
      : info('/dev/net/tun opens; making a TAP device needs root (CAP_NET_ADMIN)');
  }
  return code === 'EACCES' || code === 'EPERM'
    ? warn('/dev/net/tun cannot be opened by this user: VMs get no network', 'chmod 0666 /dev/net/tun')
    : warn(`/dev/net/tun cannot be opened (${code}): VMs get no network`, 'modprobe tun');
}
