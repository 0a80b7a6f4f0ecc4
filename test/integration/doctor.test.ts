import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import type { Finding, Verdict } from '../../ts/doctor/finding.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { scratchDirectory } from '../support/scratch.js';
import { ToyBench, VMMS } from '../support/toy-vm.js';

/** The command line as a user has it, with these directories. */
async function doctor(args: readonly string[], env: NodeJS.ProcessEnv) {
  const child = spawn(join(PACKAGE_ROOT, 'bin/smartvm'), ['doctor', ...args], { env: { ...process.env, ...env } });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { stdout, stderr, exitCode: child.exitCode };
}

const ofVm = (findings: readonly Finding[], vm: string) =>
  Object.fromEntries(findings.filter((finding) => finding.vm === vm).map((finding) => [finding.id, finding]));

describe.each(VMMS)('the VMs of $name', (vmm) => {
  test('are seen by their keepers, as they are', async () => {
    await using bench = await ToyBench.open(vmm);
    const [one, other] = [await bench.boot({ id: 'one' }), await bench.boot({ id: 'other' })];
    await one.vm.pause();
    await other.vm.pause();
    const findings = await bench.smartvm.doctor();
    const count = findings.find(({ id, vm }) => id === 'vms' && vm === undefined);
    expect(count).toMatchObject({ verdict: 'ok', detail: `2, below ${bench.runtimeDir}` });
    for (const vm of ['one', 'other']) {
      const seen = ofVm(findings, vm);
      expect(seen['vm-seccomp']).toMatchObject({
        verdict: 'ok',
        detail: expect.stringMatching(/^every thread of (?:qemu-system-\w+|firecracker\S*) is filtered$/),
      });
      const checks = ['vm-limits', 'vm-namespaces', 'vm-no-new-privs', 'vm-seccomp', 'vm-user'];
      expect(Object.keys(seen).sort()).toEqual(checks);
    }
    if (vmm.jail) {
      const jailed = [...Object.values(ofVm(findings, 'one')), ...Object.values(ofVm(findings, 'other'))];
      expect(jailed.filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
    }
    await one.vm.cleanup();
    const { stdout } = await doctor(['--json'], { SMARTVM_RUNTIME_DIR: bench.runtimeDir });
    const { findings: later } = JSON.parse(stdout) as { findings: Finding[] };
    expect(ofVm(later, 'one')).toEqual({});
    expect(ofVm(later, 'other')).toEqual(ofVm(findings, 'other'));
  });
});

describe.skipIf(process.getuid?.() !== 0).each(VMMS)('an unjailed VM of $name', (vmm) => {
  test('is seen for what it lacks', async () => {
    await using open = await ToyBench.open({ ...vmm, jail: false });
    const { vm } = await open.boot({ id: 'open' });
    await vm.pause();
    const seen = ofVm(await open.smartvm.doctor(), 'open');
    expect(seen['vm-user']).toMatchObject({ verdict: 'fail', detail: expect.stringContaining('it runs as root') });
    expect(seen['vm-seccomp']).toMatchObject({ verdict: 'ok' });
    expect(seen['vm-limits']).toMatchObject({
      verdict: 'warn',
      detail: 'its memory is not limited; its number of processes is not limited',
    });
    expect(seen['vm-namespaces']).toMatchObject({
      verdict: 'warn',
      detail: "mnt, pid, ipc: it shares the host's",
      remedy: expect.stringContaining('jailed'),
    });
  });
});

describe('smartvm doctor', () => {
  test('prints a table for people, without colours where nobody looks', async () => {
    await using scratch = await scratchDirectory();
    const env = { SMARTVM_DATA_DIR: scratch.file('data'), SMARTVM_RUNTIME_DIR: scratch.file('run') };
    const { stdout, stderr, exitCode } = await doctor([], env);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^Host\n {2}\S KVM /);
    const [, failed] = /\n\d+ ok, \d+ to know, \d+ warnings?, (\d+) failed[.:].*\n$/.exec(stdout) ?? [];
    expect(stdout).not.toContain('\u001b');
    expect(exitCode).toBe(failed === '0' ? 0 : 1);
  });

  test('sees a fault that was planted, and ends with 1; with --production for a warning', async () => {
    await using scratch = await scratchDirectory();
    const runtime = scratch.file('open', 'run');
    await mkdir(runtime, { recursive: true, mode: 0o700 });
    await chmod(scratch.file('open'), 0o777);
    const env = { SMARTVM_DATA_DIR: scratch.file('data'), SMARTVM_RUNTIME_DIR: runtime };
    const look = async (...args: string[]) => {
      const { stdout, exitCode } = await doctor(['--json', ...args], env);
      const document = JSON.parse(stdout) as { healthy: boolean; counts: Record<Verdict, number>; findings: Finding[] };
      const own = document.findings.filter(({ id }) => id === 'runtime-directory');
      return { ...document, exitCode, own };
    };
    const remedy = `chmod o-w ${scratch.file('open')}`;
    expect(await look()).toMatchObject({ own: [{ verdict: 'fail', remedy }], healthy: false, exitCode: 1 });
    await chmod(scratch.file('open'), 0o700);
    const { own, counts, healthy, exitCode } = await look();
    expect(own).toMatchObject([{ verdict: 'ok' }]);
    expect([healthy, exitCode]).toEqual(counts.fail === 0 ? [true, 0] : [false, 1]); // the machine may have faults of its own
    // A socket path in a scratch directory is too long for the longest id, which is a warning.
    expect(counts.warn).toBeGreaterThan(0);
    expect(await look('--production')).toMatchObject({ own, healthy: false, exitCode: 1 });
  });

  test('knows programs of old by the versions that they print', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('bin'));
    for (const [name, version] of [
      ['firecracker', 'Firecracker v1.15.0'],
      ['jailer', 'Jailer v1.13.1'],
    ] as const) {
      await writeFile(scratch.file('bin', name), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 });
    }
    const env = { PATH: `${scratch.file('bin')}:${process.env.PATH}`, SMARTVM_RUNTIME_DIR: scratch.file('run') };
    const { findings } = JSON.parse((await doctor(['--json'], env)).stdout) as { findings: Finding[] };
    const bad = findings.filter(({ verdict }) => verdict === 'warn' || verdict === 'fail');
    const said = (id: string) =>
      bad
        .filter((finding) => finding.id === id)
        .map(({ detail }) => detail)
        .join('\n');
    expect(said('firecracker')).toContain(`${scratch.file('bin', 'firecracker')} 1.15.0 has CVE-2026-5747`);
    expect(said('jailer')).toContain(`${scratch.file('bin', 'jailer')} 1.13.1 has CVE-2026-1386`);
  });
});
