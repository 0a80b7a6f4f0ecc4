import { chown } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { CHECKS } from '../../../ts/doctor/checks.js';
import type { HostOptions } from '../../../ts/doctor/host.js';
import { SmartVMError } from '../../../ts/errors.js';
import { hostArch } from '../../../ts/vmm/host.js';
import { type Fault, IS_ROOT, remove, testFaults } from '../../support/planted-fault.js';
import { PlantedHost } from '../../support/planted-host.js';

const BY_QEMU: HostOptions = { findVmm: async () => ({ kind: 'qemu', path: '/opt/smartvm-qemu' }) };
const BY_NONE: HostOptions = {
  findVmm: () => Promise.reject(new SmartVMError('VMM_NOT_FOUND', 'no VMM can run here')),
};

describe('a host without a fault', () => {
  test('has nothing but good findings, and at least one of each check that is not about a VM', async () => {
    await using host = await PlantedHost.healthy();
    const findings = await host.findings();
    const space = /^(?:data|runtime)-space$/; // of the real disk below
    const bad = findings.filter(({ id, verdict }) => verdict !== 'ok' && !space.test(id));
    // An ordinary user is told what only root can do.
    expect(IS_ROOT ? bad : bad.filter(({ id, verdict }) => id !== 'jail' && verdict !== 'info')).toEqual([]);
    const expected = CHECKS.map(({ id }) => id).filter((id) => !id.startsWith('vm-'));
    expect(findings.map(({ id }) => id)).toEqual(expected);
  });
});

const FAULTS: Fault[] = [
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
    what: 'no umoci',
    id: 'oci',
    plant: remove('/usr/bin/umoci'),
    verdict: 'info',
    detail: /not installed: umoci/,
    remedy: /apt-get install umoci/,
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
];

/** What only root can plant, or what matters to root alone. */
const FAULTS_OF_ROOT: Fault[] = [
  {
    what: 'a user who cannot jail',
    id: 'jail',
    plant: (host) => Promise.all(['/var/lib/smartvm', '/run/smartvm'].map((path) => chown(host.at(path), 1234, 1234))),
    options: { uid: 1234 },
    verdict: 'warn',
    detail: /unjailed, with all the rights of this user/,
    remedy: /as root/,
  },
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
];

describe('a fault', () => {
  testFaults(FAULTS);
  testFaults(FAULTS_OF_ROOT, IS_ROOT);
});

describe('the Firecracker and the jailer', () => {
  const [firecracker = '', jailer = ''] = ['firecracker', 'jailer'].map(
    (name) => `/var/lib/smartvm/bin/${name}-v1.16.1-${hostArch()}`,
  );

  test('that smartvm install has fetched are seen', async () => {
    await using host = await PlantedHost.healthy();
    await host.remove('/usr/bin/firecracker');
    await host.remove('/usr/bin/jailer');
    await host.executable(firecracker, 'echo Firecracker v1.16.1');
    await host.executable(jailer, 'echo Jailer v1.16.1');
    await host.directory('/var/lib/smartvm/bin', 0o700);
    expect(await host.findings('firecracker', BY_QEMU)).toMatchObject([{ detail: `${firecracker} 1.16.1` }]);
    expect(await host.findings('jailer', BY_QEMU)).toMatchObject([{ detail: `${jailer} 1.16.1` }]);
  });

  test('belong together where there are others: the jailer of its version is the one that VMs get', async () => {
    await using host = await PlantedHost.healthy();
    await host.executable('/opt/fc/firecracker', 'echo Firecracker v1.16.1');
    await host.executable('/opt/fc/jailer', 'echo Jailer v1.16.1');
    await host.program('jailer', 'echo Jailer v1.14.0');
    await host.link('/usr/bin/firecracker', '../../opt/fc/firecracker');
    expect(await host.findings('jailer')).toMatchObject([{ verdict: 'ok', detail: '/opt/fc/jailer 1.16.1' }]);
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
