import { type Check, info, ok, type Result, warn } from '../finding.js';
import type { Host } from '../host.js';
import { programsOf } from '../programs.js';

const VULNERABILITIES = '/sys/devices/system/cpu/vulnerabilities';
const GUIDE = 'https://github.com/firecracker-microvm/firecracker/blob/main/docs/prod-host-setup.md';

/** They have checks of their own. */
const ELSEWHERE = ['old_microcode', 'itlb_multihit'];

export const PROCESSOR_CHECKS: readonly Check[] = [
  {
    id: 'smt',
    area: 'production',
    title: 'SMT',
    about: 'Simultaneous multi-threading is off: two tenants on one core can learn of one another.',
    source: `${GUIDE}#disable-smt`,
    run: checkSmt,
  },
  {
    id: 'cpu-vulnerabilities',
    area: 'production',
    title: 'CPU vulnerabilities',
    about: 'What the kernel says of each hardware vulnerability: warns of those that are not mitigated.',
    source: `${GUIDE}#mitigating-hardware-vulnerabilities`,
    run: checkVulnerabilities,
  },
  {
    id: 'microcode',
    area: 'production',
    title: 'Microcode',
    about: "The processor's microcode is not older than what the kernel knows of (`old_microcode`, in recent kernels).",
    source: 'https://docs.kernel.org/admin-guide/hw-vuln/old_microcode.html',
    run: checkMicrocode,
  },
  {
    id: 'nx-huge-pages',
    area: 'production',
    title: 'iTLB multihit',
    about:
      "KVM's `nx_huge_pages` is on where the processor has the iTLB multihit fault, with which a guest can halt the host; where it has not, `never` saves time at each VM's start.",
    source: `${GUIDE}#linux-61-boot-time-regressions`,
    run: checkNxHugePages,
  },
];

async function checkSmt(host: Host): Promise<Result> {
  const [active, control, guest] = await Promise.all([
    host.read('/sys/devices/system/cpu/smt/active'),
    host.read('/sys/devices/system/cpu/smt/control'),
    isGuest(host),
  ]);
  if (active === undefined) {
    return info('this kernel does not say whether SMT is on');
  }
  if (active !== '0') {
    return warn('SMT is on', 'echo off > /sys/devices/system/cpu/smt/control, and nosmt on the kernel command line');
  }
  return ok(`off (${control ?? 'no control'})${guest ? '; this host is a VM: what lies below it decides' : ''}`);
}

async function isGuest(host: Host): Promise<boolean> {
  return /^flags\s*:.*\bhypervisor\b/m.test((await host.read('/proc/cpuinfo')) ?? '');
}

async function checkVulnerabilities(host: Host): Promise<Result> {
  const names = (await host.list(VULNERABILITIES)).filter((name) => !ELSEWHERE.includes(name)).sort();
  const states = await Promise.all(
    names.map(async (name) => ({ name, state: (await host.read(`${VULNERABILITIES}/${name}`)) ?? '' })),
  );
  if (states.length === 0) {
    return info('this kernel does not say which vulnerabilities the processor has');
  }
  const open = states.filter(({ state }) => /vulnerable/i.test(state));
  return open.length === 0
    ? ok(`${states.length} known ones: the processor has none that is not mitigated`)
    : warn(
        open.map(({ name, state }) => `${name}: ${state}`).join('; '),
        'mitigations=auto,nosmt on the kernel command line, the newest kernel and microcode',
      );
}

async function checkMicrocode(host: Host): Promise<Result> {
  const [state, cpuinfo = ''] = await Promise.all([
    host.read(`${VULNERABILITIES}/old_microcode`),
    host.read('/proc/cpuinfo'),
  ]);
  const version = /^microcode\s*:\s*(\S+)/m.exec(cpuinfo)?.[1];
  const which = version === undefined ? '' : ` (${version})`;
  if (state === undefined || /^unknown/i.test(state)) {
    return info(`the kernel does not say whether the microcode${which} is old`);
  }
  return /vulnerable/i.test(state)
    ? warn(
        `the microcode${which} is older than what the kernel knows of`,
        'apt-get install intel-microcode amd64-microcode',
      )
    : ok(`not known to be old${which}`);
}

async function checkNxHugePages(host: Host): Promise<Result> {
  const [fault, setting, release = '', { vmm }] = await Promise.all([
    host.read(`${VULNERABILITIES}/itlb_multihit`),
    host.read('/sys/module/kvm/parameters/nx_huge_pages'),
    host.read('/proc/sys/kernel/osrelease'),
    programsOf(host),
  ]);
  if (setting === undefined) {
    return info('KVM is not loaded, or has no nx_huge_pages');
  }
  const isOff = /^(?:n|0|off|never)$/i.test(setting);
  if (fault !== undefined && /^not affected/i.test(fault)) {
    const slows = vmm === 'firecracker' && setting !== 'never' && Number.parseFloat(release) >= 6;
    return slows
      ? info(
          `nx_huge_pages is ${setting}, which this processor does not need`,
          'options kvm nx_huge_pages=never in /etc/modprobe.d/kvm.conf',
        )
      : ok('the processor does not have the fault');
  }
  return isOff
    ? warn(
        `nx_huge_pages is ${setting}, and the processor ${fault === undefined ? 'may have' : 'has'} the fault: a guest can halt the host`,
        'echo auto > /sys/module/kvm/parameters/nx_huge_pages',
      )
    : ok(`nx_huge_pages is ${setting}`);
}
