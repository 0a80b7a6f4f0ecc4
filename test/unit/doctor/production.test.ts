import { describe, expect, test } from 'vitest';
import { type Fault, IS_ROOT, plant, testFaults } from '../../support/planted-fault.js';
import { PlantedHost } from '../../support/planted-host.js';

const CPU = '/sys/devices/system/cpu';

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
];

/** What only root can plant, or what matters to root alone. */
const FAULTS_OF_ROOT: Fault[] = [
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
];

describe('a fault', () => {
  testFaults(FAULTS);
  testFaults(FAULTS_OF_ROOT, IS_ROOT);
});

describe('no fault', () => {
  test('swap that is encrypted, or in memory, is no fault', async () => {
    await using host = await PlantedHost.healthy();
    await host.plant('/proc/swaps', 'Filename\n/dev/dm-1 partition 9 0 -2\n/dev/zram0 partition 9 0 5\n');
    await host.plant('/sys/block/dm-1/dm/uuid', 'CRYPT-PLAIN-swap\n');
    expect(await host.findings('swap')).toMatchObject([
      { verdict: 'ok', detail: '/dev/dm-1: encrypted, /dev/zram0: in memory' },
    ]);
  });
});
