import { chmod, chown, lchown } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { CHECKS } from '../../../ts/doctor/checks.js';
import type { Verdict } from '../../../ts/doctor/finding.js';
import type { HostOptions } from '../../../ts/doctor/host.js';
import { SmartVMError } from '../../../ts/errors.js';
import { hostArch } from '../../../ts/vmm/host.js';
import { PlantedHost } from '../../support/planted-host.js';

const IS_ROOT = process.getuid?.() === 0;
const CPU = '/sys/devices/system/cpu';
const BY_QEMU: HostOptions = { findVmm: async () => ({ kind: 'qemu', path: '/opt/smartvm-qemu' }) };
const BY_NONE: HostOptions = {
  findVmm: () => Promise.reject(new SmartVMError('VMM_NOT_FOUND', 'no VMM can run here')),
};

interface Fault {
  what: string;
  /** The check that finds it, and no other does. */
  id: string;
  plant: (host: PlantedHost) => Promise<unknown>;
  verdict: Verdict;
  detail: RegExp;
  remedy?: RegExp;
  options?: HostOptions;
}

async function plantFault({ plant, options, id }: Fault) {
  await using host = await PlantedHost.healthy();
  await plant(host);
  const all = await host.findings(undefined, options);
  return { own: all.filter((finding) => finding.id === id), others: all.filter((finding) => finding.id !== id) };
}

const plant = (path: string, text: string) => (host: PlantedHost) => host.plant(path, text);
const remove = (path: string) => (host: PlantedHost) => host.remove(path);

const FAULTS: Fault[] = [
  {
    what: 'swap on',
    id: 'swap',
    plant: plant('/proc/swaps', 'Filename\n/dev/sda2 partition 9 0 -2\n'),
    verdict: 'warn',
    detail: /\/dev\/sda2/,
    remedy: /swapoff/,
  },
  {
    what: 'swap in a file',
    id: 'swap',
    plant: plant('/proc/swaps', 'Filename\n/swapfile file 9 0 -2\n'),
    verdict: 'warn',
    detail: /\/swapfile/,
  },
  {
    what: 'KSM on',
    id: 'ksm',
    plant: plant('/sys/kernel/mm/ksm/run', '1\n'),
    verdict: 'warn',
    detail: /KSM is on/,
    remedy: /echo 2 >/,
  },
  {
    what: 'pages left merged',
    id: 'ksm',
    plant: plant('/sys/kernel/mm/ksm/pages_shared', '7\n'),
    verdict: 'warn',
    detail: /7 pages are still merged/,
  },
  {
    what: 'SMT on',
    id: 'smt',
    plant: plant(`${CPU}/smt/active`, '1\n'),
    verdict: 'warn',
    detail: /SMT is on/,
    remedy: /smt\/control/,
  },
  {
    what: 'an open vulnerability',
    id: 'cpu-vulnerabilities',
    plant: plant(`${CPU}/vulnerabilities/mds`, 'Vulnerable: Clear CPU buffers attempted, no microcode\n'),
    verdict: 'warn',
    detail: /^mds: Vulnerable: Clear/,
  },
  {
    what: 'one that SMT opens',
    id: 'cpu-vulnerabilities',
    plant: plant(
      `${CPU}/vulnerabilities/l1tf`,
      'Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable\n',
    ),
    verdict: 'warn',
    detail: /SMT vulnerable/,
  },
  {
    what: 'old microcode',
    id: 'microcode',
    plant: plant(`${CPU}/vulnerabilities/old_microcode`, 'Vulnerable\n'),
    verdict: 'warn',
    detail: /0x2b.*older/,
    remedy: /intel-microcode/,
  },
  {
    what: 'nx_huge_pages off',
    id: 'nx-huge-pages',
    plant: plant('/sys/module/kvm/parameters/nx_huge_pages', 'N\n'),
    verdict: 'warn',
    detail: /a guest can halt the host/,
    remedy: /echo auto/,
  },
  {
    what: 'nx_huge_pages never',
    id: 'nx-huge-pages',
    plant: plant('/sys/module/kvm/parameters/nx_huge_pages', 'never\n'),
    verdict: 'warn',
    detail: /is never/,
  },
  {
    what: 'cgroups of version 1',
    id: 'cgroup',
    plant: plant(
      '/proc/self/mountinfo',
      ['memory', 'pids', 'cpu', 'blkio']
        .map((name) => `32 31 0:29 / /sys/fs/cgroup rw - cgroup cgroup rw,${name}`)
        .join('\n'),
    ),
    verdict: 'warn',
    detail: /version 1, with memory, pids, cpu, io/,
    remedy: /unified_cgroup_hierarchy/,
  },
  {
    what: 'no controller for I/O',
    id: 'cgroup',
    plant: plant('/sys/fs/cgroup/cgroup.controllers', 'cpu memory pids\n'),
    verdict: 'warn',
    detail: /without io/,
  },
  {
    what: 'a kernel that nobody tests',
    id: 'kernel',
    plant: plant('/proc/sys/kernel/osrelease', '6.5.0-1-amd64\n'),
    verdict: 'warn',
    detail: /6\.5\.0-1-amd64 is not one/,
  },
  {
    what: 'a kernel that is too old for jails',
    id: 'kernel',
    plant: plant('/proc/sys/kernel/osrelease', '5.10.0-30-amd64\n'),
    verdict: 'warn',
    detail: /cannot be lent to a jail/,
  },
  {
    what: 'a kernel that talks',
    id: 'kernel-log',
    plant: plant('/proc/sys/kernel/printk', '7 4 1 7\n'),
    verdict: 'warn',
    detail: /up to level 6/,
    remedy: /quiet loglevel=1/,
  },
  {
    what: 'no forwarding',
    id: 'ip-forward',
    plant: plant('/proc/sys/net/ipv4/ip_forward', '0\n'),
    verdict: 'info',
    detail: /^off/,
    remedy: /sysctl/,
  },
  {
    what: 'no TAP devices',
    id: 'tap',
    plant: remove('/dev/net/tun'),
    verdict: 'warn',
    detail: /ENOENT/,
    remedy: /modprobe tun/,
  },
  {
    what: 'no nft',
    id: 'nftables',
    plant: remove('/usr/bin/nft'),
    verdict: 'warn',
    detail: /not installed/,
    remedy: /apt-get install nftables/,
  },
  {
    what: 'no KVM, where Firecracker was named',
    id: 'kvm',
    plant: remove('/dev/kvm'),
    verdict: 'fail',
    detail: /\/dev\/kvm does not exist/,
  },
  {
    what: 'no QEMU, where Firecracker runs',
    id: 'qemu',
    plant: remove(`/usr/bin/qemu-system-${hostArch()}`),
    verdict: 'info',
    detail: /Firecracker runs the guests/,
  },
  {
    what: 'a Firecracker with a hole that an option opens',
    id: 'firecracker',
    plant: async (host) => {
      await host.program('firecracker', 'echo Firecracker v1.15.0');
      await host.program('jailer', 'echo Jailer v1.15.0');
    },
    verdict: 'warn',
    detail: /1\.15\.0 has CVE-2026-5747 .*enablePci/,
    remedy: /1\.15\.1/,
  },
  {
    what: 'a Firecracker that is dumb',
    id: 'firecracker',
    plant: async (host) => {
      await host.program('firecracker', 'echo no; exit 3');
      await host.program('jailer', 'echo unknown');
    },
    verdict: 'fail',
    detail: /does not say its version: .*exited with 3/,
  },
  {
    what: 'a path that is too long for sockets',
    id: 'socket-paths',
    plant: (host) => host.directory('/run/a-rather-long-directory', 0o700),
    options: { runtimeDir: '/run/a-rather-long-directory' },
    verdict: 'warn',
    detail: /ids have 57 characters at most, not 64/,
    remedy: /SMARTVM_RUNTIME_DIR/,
  },
  {
    what: 'a path that is too long for any VM',
    id: 'socket-paths',
    plant: (host) => host.directory(`/run/${'x'.repeat(80)}`, 0o700),
    options: { runtimeDir: `/run/${'x'.repeat(80)}` },
    verdict: 'fail',
    detail: /ids have 0 characters/,
  },
  {
    what: 'a parent that all can write',
    id: 'data-directory',
    plant: (host) => host.directory('/var/lib', 0o777),
    verdict: 'fail',
    detail: /every user can write to the directory \/var\/lib \(mode 0777\)/,
    remedy: /^chmod o-w \/var\/lib$/,
  },
  {
    what: 'a directory that all can write',
    id: 'runtime-directory',
    plant: (host) => host.directory('/run/smartvm', 0o1777),
    verdict: 'fail',
    detail: /others can write to \/run\/smartvm \(mode 1777\)/,
  },
  {
    what: 'a directory that all can read',
    id: 'runtime-directory',
    plant: (host) => host.directory('/run/smartvm', 0o755),
    verdict: 'info',
    detail: /is open to others/,
    remedy: /chmod 700/,
  },
  {
    what: 'a link in place of the directory',
    id: 'data-directory',
    plant: (host) => host.link('/var/lib/smartvm', '/run/smartvm'),
    verdict: 'fail',
    detail: /is a link/,
  },
  {
    what: 'a file in place of the directory',
    id: 'data-directory',
    plant: async (host) => {
      await host.remove('/var/lib/smartvm');
      await host.plant('/var/lib/smartvm', '');
    },
    verdict: 'fail',
    detail: /not a directory/,
  },
  {
    what: 'a directory that anybody can make first',
    id: 'runtime-directory',
    plant: async (host) => {
      await host.remove('/run/smartvm');
      await host.directory('/run', 0o1777);
    },
    verdict: 'warn',
    detail: /any user can make it first/,
    remedy: /install -d -m 700/,
  },
  {
    what: 'a program that all can write',
    id: 'executables',
    plant: (host) => chmod(host.at('/usr/bin/jailer'), 0o777),
    verdict: 'fail',
    detail: /every user can write to the file \/usr\/bin\/jailer/,
  },
];

/** What only root can plant, or what matters to root alone. */
const FAULTS_OF_ROOT: Fault[] = [
  {
    what: 'a jailer with a hole',
    id: 'jailer',
    plant: async (host) => {
      await host.program('firecracker', 'echo Firecracker v1.14.0');
      await host.program('jailer', 'echo Jailer v1.14.0');
    },
    verdict: 'fail',
    detail: /1\.14\.0 has CVE-2026-1386/,
  },
  {
    what: 'a jailer of another version',
    id: 'jailer',
    plant: (host) => host.program('jailer', 'echo Jailer v1.16.2'),
    verdict: 'fail',
    detail: /is 1\.16\.2 and Firecracker is 1\.16\.1/,
  },
  {
    what: 'no jailer',
    id: 'jailer',
    plant: remove('/usr/bin/jailer'),
    verdict: 'fail',
    detail: /not installed/,
    remedy: /smartvm install/,
  },
  {
    what: 'an nft that may not',
    id: 'nftables',
    plant: (host) => host.program('nft', 'echo Operation not permitted >&2; exit 1'),
    verdict: 'warn',
    detail: /Operation not permitted/,
  },
  {
    what: 'no controller for memory',
    id: 'cgroup',
    plant: plant('/sys/fs/cgroup/cgroup.controllers', 'cpu io pids\n'),
    verdict: 'fail',
    detail: /without memory/,
  },
  {
    what: 'no cgroups',
    id: 'cgroup',
    plant: plant('/proc/self/mountinfo', ''),
    verdict: 'fail',
    detail: /no cgroups are mounted/,
  },
  {
    what: 'a directory of another user',
    id: 'data-directory',
    plant: (host) => chown(host.at('/var/lib/smartvm'), 1234, 1234),
    verdict: 'fail',
    detail: /belongs to uid 1234, not to uid 0/,
  },
  {
    what: 'a parent of another user',
    id: 'runtime-directory',
    plant: (host) => chown(host.at('/run'), 1234, 0),
    verdict: 'fail',
    detail: /the directory \/run belongs to uid 1234/,
  },
  {
    what: 'a parent that a group can write',
    id: 'data-directory',
    plant: async (host) => {
      await host.directory('/var/lib', 0o775);
      await chown(host.at('/var/lib'), 0, 1234);
    },
    verdict: 'warn',
    detail: /the group 1234 can write/,
    remedy: /chmod g-w/,
  },
  {
    what: 'a link of another user on the way',
    id: 'runtime-directory',
    plant: async (host) => {
      await host.link('/var/run', '../run');
      await lchown(host.at('/var/run'), 1234, 1234);
    },
    options: { runtimeDir: '/var/run/smartvm' },
    verdict: 'fail',
    detail: /the link \/var\/run belongs to uid 1234/,
  },
  {
    what: 'a program of another user',
    id: 'executables',
    plant: (host) => chown(host.at('/usr/bin/firecracker'), 1234, 1234),
    verdict: 'fail',
    detail: /the file \/usr\/bin\/firecracker belongs to uid 1234/,
  },
];

describe('a host without a fault', () => {
  test('has nothing but good findings, and at least one of each check that is not about a VM', async () => {
    await using host = await PlantedHost.healthy();
    const findings = await host.findings();
    const space = /^(?:data|runtime)-space$/; // of the real disk below
    const bad = findings.filter(({ id, verdict }) => verdict !== 'ok' && !space.test(id));
    // An ordinary user is told what only root can do.
    expect(IS_ROOT ? bad : bad.filter(({ verdict }) => verdict !== 'info')).toEqual([]);
    const expected = CHECKS.map(({ id }) => id).filter((id) => !id.startsWith('vm-'));
    expect(findings.map(({ id }) => id)).toEqual(expected);
  });

  test('swap that is encrypted, or in memory, is no fault', async () => {
    await using host = await PlantedHost.healthy();
    await host.plant('/proc/swaps', 'Filename\n/dev/dm-1 partition 9 0 -2\n/dev/zram0 partition 9 0 5\n');
    await host.plant('/sys/block/dm-1/dm/uuid', 'CRYPT-PLAIN-swap\n');
    expect(await host.findings('swap')).toMatchObject([
      { verdict: 'ok', detail: '/dev/dm-1: encrypted, /dev/zram0: in memory' },
    ]);
  });

  test("a link of one's own on the way is followed, and what is behind it looked at", async () => {
    await using host = await PlantedHost.healthy();
    await host.link('/var/run', '../run');
    const options = { runtimeDir: '/var/run/smartvm' };
    expect(await host.findings('runtime-directory', options)).toMatchObject([{ verdict: 'ok' }]);
    await host.directory('/run', 0o777);
    expect(await host.findings('runtime-directory', options)).toMatchObject([
      { verdict: 'fail', detail: expect.stringContaining('every user can write to the directory /run') },
    ]);
  });

  test('links that go in a circle end', async () => {
    await using host = await PlantedHost.healthy();
    await host.link('/var/a', 'b');
    await host.link('/var/b', 'a');
    expect(await host.findings('data-directory', { dataDir: '/var/a/x' })).toHaveLength(1);
  });
});

describe.each([
  ['a fault', FAULTS, true],
  ['a fault of root', FAULTS_OF_ROOT, IS_ROOT],
] as const)('%s', (_kind, faults, isPossible) => {
  test.runIf(isPossible).each(faults)('$what: $id says $verdict', async (fault) => {
    const { own, others } = await plantFault(fault);
    expect(own).toMatchObject([{ verdict: fault.verdict, detail: expect.stringMatching(fault.detail) }]);
    expect(own[0]?.remedy ?? '').toMatch(fault.remedy ?? /^/);
    const bad = others.filter(({ id, verdict }) => verdict === 'fail' && id !== 'jailer' && !id.endsWith('-space'));
    expect(bad).toEqual([]);
  });
});

describe('where QEMU runs the guests', () => {
  test('what Firecracker would need is no fault', async () => {
    await using host = await PlantedHost.healthy();
    await host.plant('/proc/cpuinfo', 'flags : fpu hypervisor\n');
    await host.plant('/proc/sys/kernel/osrelease', '6.5.0\n');
    await host.plant('/proc/sys/kernel/printk', '7 4 1 7\n');
    await host.remove('/usr/bin/firecracker');
    await host.remove('/usr/bin/jailer');
    const findings = await host.findings(undefined, BY_QEMU);
    const verdictOf = (id: string) => findings.find((finding) => finding.id === id)?.verdict;
    expect(['firecracker', 'jailer', 'kernel', 'kernel-log'].map(verdictOf)).toEqual(['info', 'info', 'info', 'info']);
    expect(findings.filter(({ verdict }) => verdict === 'fail')).toEqual([]);
    if (hostArch() === 'x86_64') {
      expect([verdictOf('kvm'), verdictOf('qemu')]).toEqual(['info', 'warn']);
    }
  });

  test('a vulnerable Firecracker that lies there is worth a warning', async () => {
    await using host = await PlantedHost.healthy();
    await host.program('jailer', 'echo Jailer v1.13.1');
    const findings = await host.findings('jailer', BY_QEMU);
    expect(findings.map(({ verdict }) => verdict)).toEqual(['info', 'warn']);
  });
});

test('without any VMM it fails, with the command that mends it', async () => {
  await using host = await PlantedHost.healthy();
  expect(await host.findings('vmm', BY_NONE)).toMatchObject([
    { verdict: 'fail', detail: 'no VMM can run here', remedy: 'smartvm install --with-deps' },
  ]);
});

test('the ids of checks are unique', () => {
  const ids = CHECKS.map(({ id }) => id);
  expect([...new Set(ids)]).toEqual(ids);
});
