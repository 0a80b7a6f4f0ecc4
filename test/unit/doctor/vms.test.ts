import { writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { Verdict } from '../../../ts/doctor/finding.js';
import { PlantedHost } from '../../support/planted-host.js';
import { type PlantedProcess, plantProcess, plantVm } from '../../support/planted-vm.js';

const PID = 1000;
/** Some other user than the one who runs the tests. */
const MANAGER = { uid: 4321 };

async function verdicts(host: PlantedHost): Promise<Record<string, Verdict>> {
  const findings = (await host.findings(undefined, MANAGER)).filter(({ vm }) => vm !== undefined);
  return Object.fromEntries(findings.map(({ id, verdict }) => [id, verdict]));
}

const GOOD = {
  'vm-user': 'ok',
  'vm-seccomp': 'ok',
  'vm-no-new-privs': 'ok',
  'vm-limits': 'ok',
  'vm-namespaces': 'ok',
} as const;

describe('the wall around a VM', () => {
  test('without a fault', async () => {
    await using host = await PlantedHost.healthy();
    await plantVm(host, { pid: PID });
    await plantVm(host, { pid: PID + 10 });
    expect(await verdicts(host)).toEqual(GOOD);
    expect(await host.findings('vms', MANAGER)).toMatchObject([{ verdict: 'ok', detail: '2, below /run/smartvm' }]);
  });

  test.each<[string, Partial<PlantedProcess>, Partial<Record<keyof typeof GOOD, Verdict>>]>([
    ['root', { uid: 0 }, { 'vm-user': 'fail' }],
    ["the manager's user", { uid: MANAGER.uid }, { 'vm-user': 'warn' }],
    ['a thread without a filter', { seccomp: 0 }, { 'vm-seccomp': 'fail' }],
    ['a thread in strict mode, which is no filter', { seccomp: 1 }, { 'vm-seccomp': 'fail' }],
    ['privileges to gain', { noNewPrivs: 0 }, { 'vm-no-new-privs': 'warn' }],
    ['files without end', { openFiles: '1048576' }, { 'vm-limits': 'warn' }],
    ['files without any limit', { openFiles: 'unlimited' }, { 'vm-limits': 'warn' }],
    ["the host's namespaces", { namespaces: 'host' }, { 'vm-namespaces': 'warn' }],
    ["the host's own cgroup", { cgroup: '/' }, { 'vm-limits': 'warn' }],
  ])('%s', async (_what, part, bad) => {
    await using host = await PlantedHost.healthy();
    await plantVm(host, { pid: PID, ...part });
    expect(await verdicts(host)).toEqual({ ...GOOD, ...bad });
  });

  test.each([
    ['memory', { memory: 'max', pids: '64' }, 'its memory is not limited'],
    ['processes', { memory: '268435456', pids: 'max' }, 'its number of processes is not limited'],
  ])('a cgroup that does not limit %s', async (_what, limits, detail) => {
    await using host = await PlantedHost.healthy();
    await plantVm(host, { pid: PID }, limits);
    expect(await host.findings('vm-limits', MANAGER)).toMatchObject([{ verdict: 'warn', detail, vm: `vm-${PID}` }]);
  });

  test('limits of version 1', async () => {
    await using host = await PlantedHost.healthy();
    await plantVm(host, { pid: PID });
    const mount = (name: string) => `32 31 0:29 / /sys/fs/cgroup/${name} rw - cgroup cgroup rw,${name}`;
    await host.plant('/proc/self/mountinfo', `${mount('memory')}\n${mount('pids')}\n`);
    await host.plant(`/proc/${PID}/cgroup`, '5:memory:/smartvm/x\n4:pids:/smartvm/x\n0::/\n');
    await host.plant('/sys/fs/cgroup/pids/smartvm/x/pids.max', '64\n');
    const limit = '/sys/fs/cgroup/memory/smartvm/x/memory.limit_in_bytes';
    await host.plant(limit, '268435456\n');
    expect(await host.findings('vm-limits', MANAGER)).toMatchObject([{ verdict: 'ok' }]);
    await writeFile(host.at(limit), '9223372036854771712\n');
    expect(await host.findings('vm-limits', MANAGER)).toMatchObject([{ verdict: 'warn' }]);
  });

  test('two VMs of one user', async () => {
    await using host = await PlantedHost.healthy();
    await plantVm(host, { pid: PID, uid: 1_900_000_000 });
    await plantVm(host, { pid: PID + 10, uid: 1_900_000_000 });
    expect(await verdicts(host)).toEqual({ ...GOOD, 'vm-user': 'warn' });
  });
});

describe('a VMM that is several processes', () => {
  test('of Node.js, which only carries data, no filter is asked, and of QEMU below it is', async () => {
    await using host = await PlantedHost.healthy();
    const shared = { uid: 1_900_000_000, cgroup: '/smartvm/q', namespaces: 'q' };
    await plantVm(host, { pid: PID, program: 'node', seccomp: 0, ...shared });
    await plantProcess(host, { pid: PID + 10, parent: PID, program: 'qemu-system-x86_64', ...shared });
    expect(await verdicts(host)).toEqual(GOOD);
    await plantProcess(host, { pid: PID + 10, parent: PID, program: 'qemu-system-x86_64', ...shared, seccomp: 0 });
    expect(await verdicts(host)).toEqual({ ...GOOD, 'vm-seccomp': 'fail' });
  });

  test('and whose guest has not started', async () => {
    await using host = await PlantedHost.healthy();
    await plantVm(host, { pid: PID, program: 'node', seccomp: 0 });
    expect(await verdicts(host)).toEqual({ ...GOOD, 'vm-seccomp': 'info' });
  });
});

describe('what is no running VM', () => {
  test('a keeper that does not answer is a warning, and a directory without one worth knowing', async () => {
    await using host = await PlantedHost.healthy();
    await host.keeper('silent');
    await host.directory('/run/smartvm/left', 0o700);
    await host.keeper('over', { state: 'exited', vmmPid: PID });
    await host.directory('/run/smartvm/.leases', 0o700);
    expect(await host.findings('vms', MANAGER)).toMatchObject([
      { verdict: 'ok', detail: 'none, below /run/smartvm' },
      { verdict: 'warn', vm: 'silent' },
      { verdict: 'info', vm: 'left', remedy: expect.stringContaining('smartvm rm left') },
    ]);
  });
});
