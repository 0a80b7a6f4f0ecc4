import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { PACKAGE_ROOT } from '../../../ts/util/package-root.js';
import { findFirecracker, findVmm } from '../../../ts/vmm/find.js';
import { hostArch, kvmProblem } from '../../../ts/vmm/host.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const QEMU = `qemu-system-${hostArch()}`;
const QEMU_PACKAGE = hostArch() === 'x86_64' ? 'qemu-system-x86' : 'qemu-system-arm';

afterEach(() => void vi.unstubAllEnvs());

/** A PATH with nothing but these programs in it. */
async function pathOf(scratch: ScratchDirectory, ...programs: string[]): Promise<void> {
  await mkdir(scratch.file('bin'));
  for (const program of programs) {
    await writeFile(scratch.file('bin', program), '', { mode: 0o755 });
  }
  vi.stubEnv('PATH', `${scratch.file('absent')}:${scratch.file('bin')}`);
}

describe('findVmm', () => {
  test('takes a named Firecracker as it is', async () => {
    vi.stubEnv('PATH', '');
    const firecrackerBinaryPath = '/opt/firecracker';
    expect(await findVmm({ firecrackerBinaryPath })).toEqual({ kind: 'firecracker', path: firecrackerBinaryPath });
    expect(await findVmm({ firecrackerBinaryPath, vmm: 'qemu' })).toMatchObject({ path: firecrackerBinaryPath });
  });

  test('takes smartvm-qemu where QEMU is installed', async () => {
    await using scratch = await scratchDirectory();
    await pathOf(scratch, QEMU);
    const qemu = { kind: 'qemu', path: join(PACKAGE_ROOT, 'bin/smartvm-qemu') };
    expect(await findVmm({ vmm: 'qemu' })).toEqual(qemu);
    expect(await findVmm()).toEqual(qemu);
  });

  test('without both it says what stands in the way of each, and the command that mends it', async () => {
    await using scratch = await scratchDirectory();
    await pathOf(scratch);
    const error = await findVmm().catch((reason: unknown) => reason as Error & { details: { problems: string[] } });
    expect(error).toMatchObject({
      code: 'VMM_NOT_FOUND',
      details: { problems: [expect.anything(), expect.anything()] },
    });
    expect((error as Error).message).toMatch(/Firecracker needs KVM: |firecracker is neither on PATH nor in /);
    expect((error as Error).message).toMatch(/`smartvm install --with-deps` installs what this machine needs$/);
    expect((error as Error).message).toContain(
      `${QEMU} is not installed; install it with: apt-get install ${QEMU_PACKAGE}`,
    );
  });

  test('of one that is wanted it says nothing of the other', async () => {
    await using scratch = await scratchDirectory();
    await pathOf(scratch);
    await expect(findVmm({ vmm: 'qemu' })).rejects.toMatchObject({
      code: 'VMM_NOT_FOUND',
      message: expect.not.stringMatching(/firecracker/i),
    });
    await expect(findVmm({ vmm: 'firecracker' })).rejects.toMatchObject({
      code: 'VMM_NOT_FOUND',
      message: expect.not.stringMatching(/qemu/i),
    });
  });

  test('a file that cannot be executed, or stands in the current directory, is no program', async () => {
    await using scratch = await scratchDirectory();
    await pathOf(scratch, QEMU);
    await chmod(scratch.file('bin', QEMU), 0o644);
    await expect(findVmm({ vmm: 'qemu' })).rejects.toMatchObject({ code: 'VMM_NOT_FOUND' });
    await chmod(scratch.file('bin', QEMU), 0o755);
    const before = process.cwd();
    process.chdir(scratch.file('bin'));
    try {
      vi.stubEnv('PATH', '');
      await expect(findVmm({ vmm: 'qemu' })).rejects.toMatchObject({ code: 'VMM_NOT_FOUND' });
    } finally {
      process.chdir(before);
    }
  });

  test('takes Firecracker where KVM can run guests, and says why where it cannot', async () => {
    await using scratch = await scratchDirectory();
    await pathOf(scratch, 'firecracker', QEMU);
    const problem = await kvmProblem();
    if (problem === undefined) {
      expect(await findVmm()).toEqual({ kind: 'firecracker', path: scratch.file('bin', 'firecracker') });
    } else {
      expect(await findVmm()).toMatchObject({ kind: 'qemu' });
      await expect(findVmm({ vmm: 'firecracker' })).rejects.toMatchObject({
        message: expect.stringContaining(problem),
      });
    }
  });
});

describe('findFirecracker', () => {
  /** A data folder with these files in its bin/. */
  async function dataDir(scratch: ScratchDirectory, ...names: string[]): Promise<string> {
    await mkdir(scratch.file('data', 'bin'), { recursive: true, mode: 0o700 });
    for (const name of names) {
      await writeFile(scratch.file('data', 'bin', name), '', { mode: 0o755 });
    }
    return scratch.file('data');
  }
  const release = (version: string, arch: string = hostArch()) => `firecracker-v${version}-${arch}`;

  test('takes that of PATH, else the newest that was fetched', async () => {
    await using scratch = await scratchDirectory();
    await pathOf(scratch);
    const data = await dataDir(scratch, release('1.9.0'), release('1.16.1'), release('1.16.0'));
    expect(findFirecracker(data)).toBe(scratch.file('data', 'bin', release('1.16.1')));
    await writeFile(scratch.file('bin', 'firecracker'), '', { mode: 0o755 });
    expect(findFirecracker(data)).toBe(scratch.file('bin', 'firecracker'));
  });

  test('passes over what is no program for this host', async () => {
    await using scratch = await scratchDirectory();
    await pathOf(scratch);
    const names = [release('2.0.0', 'riscv64'), `${release('2.0.0')}.json`, 'firecracker-v2-x86_64', release('1.16.1')];
    const data = await dataDir(scratch, release('1.0.0'), ...names);
    await chmod(scratch.file('data', 'bin', release('1.16.1')), 0o644);
    expect(findFirecracker(data)).toBe(scratch.file('data', 'bin', release('1.0.0')));
  });

  test('takes nothing from where others may put things', async () => {
    await using scratch = await scratchDirectory();
    await pathOf(scratch);
    const data = await dataDir(scratch, release('1.16.1'));
    await chmod(scratch.file('data', 'bin'), 0o777);
    expect(findFirecracker(data)).toBeUndefined();
    expect(findFirecracker(scratch.file('absent'))).toBeUndefined();
  });
});
