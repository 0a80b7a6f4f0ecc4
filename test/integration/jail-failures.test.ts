import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { JailOptions } from '../../ts/config/jail.js';
import type { IMicroVMConfig } from '../../ts/config/types.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { run } from '../../ts/util/run.js';
import { printer } from '../support/fake-release.js';
import * as jailed from '../support/jailed.js';
import { scratchDirectory } from '../support/scratch.js';
import { rejectionOf, type ToyBench } from '../support/toy-vm.js';

/** What a program says that makes a VM and starts it: `ok`, or the code and the words of the error. */
async function startElsewhere(bench: ToyBench, vmmPath: string, jail: string, around: string[]): Promise<string> {
  const options = `{ runtimeDir: ${JSON.stringify(bench.runtimeDir)}, firecrackerBinaryPath: ${JSON.stringify(vmmPath)}, ${jail} }`;
  const program = `
    import { SmartVM } from ${JSON.stringify(join(PACKAGE_ROOT, 'dist/index.js'))};
    try {
      const smartvm = new SmartVM(${options});
      const bootSource = { kernelImagePath: ${JSON.stringify(bench.kernelImagePath)} };
      await (await smartvm.createVM({ bootSource, machineConfig: { memSizeMib: 32 } })).start();
      await smartvm.cleanup();
      console.log('ok');
    } catch ({ code, message }) {
      console.log(code + ': ' + message);
    }`;
  const [command = '', ...rest] = [...around, process.execPath, '--input-type=module', '--eval', program];
  return await new Promise((resolve) => {
    execFile(command, rest, { cwd: '/' }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

describe.skipIf(!jailed.CAN_JAIL).each(jailed.JAILED_VMMS)(
  `a jail of $name that cannot be made${jailed.LEFT_OUT}`,
  (vmm) => {
    const bench = jailed.jailBenchForEach(vmm);

    const failure = async (part: Partial<IMicroVMConfig>) => await rejectionOf((await bench().create(part)).vm.start());

    const driveAt = (pathOnHost: string): Partial<IMicroVMConfig> => ({
      drives: [{ driveId: 'd', pathOnHost, isRootDevice: false, isReadOnly: true }],
    });

    it('for want of a uid says how to have more', async () => {
      await using one = await jailed.openJailBench(vmm, { uidRange: { ...jailed.TEST_UIDS, count: 1 } });
      const { vm } = await one.boot();
      expect(await rejectionOf(one.boot())).toMatchObject({
        code: 'UID_EXHAUSTED',
        message: expect.stringContaining("'jail.uidRange'"),
      });
      await vm.cleanup();
      const next = await one.boot(); // it is free again
      await next.vm.cleanup();
      expect(await jailed.remainsOf(one)).toEqual([]);
    });

    it('with a path that means nothing in it', async () => {
      expect(await failure(driveAt('image.ext4'))).toMatchObject({
        code: 'JAIL_PATH_UNREADABLE',
        message: expect.stringMatching(/image\.ext4 is relative.*from the root on/),
      });
    });

    it('with a file that neither the uid can read nor the file system can map', async () => {
      const folder = bench().scratch.file('ramfs'); // which has no id-mapped mounts
      await mkdir(folder);
      await run('mount', ['-t', 'ramfs', 'ramfs', folder]);
      try {
        await writeFile(join(folder, 'image'), Buffer.alloc(4096), { mode: 0o600 });
        expect(await failure(driveAt(join(folder, 'image')))).toMatchObject({
          code: 'JAIL_PATH_UNREADABLE',
          message: expect.stringMatching(/ramfs\/image is not the VM's to use.*let uid \d+ use it, or move it/),
        });
        expect(await jailed.remainsOf(bench())).toEqual([]);
        await chmod(join(folder, 'image'), 0o644);
        const { vm } = await bench().boot(driveAt(join(folder, 'image')));
        await vm.cleanup();
      } finally {
        await run('umount', [folder]);
      }
    });

    it('with a file that not even its owner may read', async () => {
      const image = bench().scratch.file('image');
      await writeFile(image, Buffer.alloc(4096), { mode: 0o000 });
      expect(await failure(driveAt(image))).toMatchObject({
        code: 'JAIL_PATH_UNREADABLE',
        message: expect.stringContaining('chmod u+r'),
      });
    });

    it('for want of cgroup controllers names them, and what gives them up', async () => {
      const hidden = ['unshare', '--mount', 'sh', '-c', 'umount -R /sys/fs/cgroup && exec "$@"', 'sh'];
      const range = `uidRange: ${JSON.stringify(jailed.TEST_UIDS)}`;
      expect(await startElsewhere(bench(), vmm.path, `jail: { ${range} }`, hidden)).toMatch(
        /^CGROUP_UNAVAILABLE: no cgroup controller for memory, cpu, pids, io; .*root of the hierarchy.*jail\.cgroups to 'none'/,
      );
      expect(await jailed.remainsOf(bench())).toEqual([]);
      expect(await startElsewhere(bench(), vmm.path, `jail: { cgroups: 'none', ${range} }`, hidden)).toBe('ok\n');
    });

    it('not for want of the right to change networks, which one without a network needs not', async () => {
      const without = ['setpriv', '--bounding-set', '-net_admin'];
      const options = `jail: { uidRange: ${JSON.stringify(jailed.TEST_UIDS)} }`;
      expect(await startElsewhere(bench(), vmm.path, options, without)).toBe('ok\n');
      expect(await jailed.remainsOf(bench())).toEqual([]);
    });

    it('by a user who is not root', async (context) => {
      const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
      const readable = await jailed.runBy(65_534, 'test', '-r', join(PACKAGE_ROOT, 'dist/index.js'));
      context.skip(readable.code !== 0, 'others cannot read this package here');
      expect(await startElsewhere(bench(), vmm.path, 'jail: true', nobody)).toMatch(
        /^JAIL_UNAVAILABLE: only root can jail a VMM, and this is uid 65534; run as root, or give `jail: false`/,
      );
    });
  },
);

const firecracker = jailed.JAILED_VMMS.find(({ name }) => name === 'Firecracker');

describe.skipIf(!jailed.CAN_JAIL || !firecracker)(`the jailer of Firecracker${jailed.LEFT_OUT}`, () => {
  let bench: ToyBench;

  afterEach(async () => {
    expect(await jailed.remainsOf(bench)).toEqual([]);
    await bench[Symbol.asyncDispose]();
    vi.unstubAllEnvs();
  });

  /** How the start fails with another Firecracker or jailer. */
  const failure = async (path: string, jail: JailOptions = {}) => {
    bench = await jailed.openJailBench({ name: 'Firecracker', path }, jail);
    return await rejectionOf((await bench.create()).vm.start());
  };

  it('is absent', async () => {
    expect(await failure(firecracker?.path ?? '', { jailerBinaryPath: '/nowhere/jailer' })).toMatchObject({
      code: 'JAILER_MISSING',
      message: expect.stringMatching(/\/nowhere\/jailer.*smartvm install.*jail: false/),
    });
  });

  it('is of another version', async () => {
    await using scratch = await scratchDirectory();
    await copyFile(firecracker?.path ?? '', scratch.file('firecracker'));
    await writeFile(scratch.file('jailer'), printer('Jailer', '1.0.0'), { mode: 0o755 });
    expect(await failure(scratch.file('firecracker'))).toMatchObject({
      code: 'JAILER_MISMATCH',
      message: expect.stringMatching(/jailer is 1\.0\.0; run `smartvm install`/),
    });
  });

  it('would find no libraries for a Firecracker that is linked dynamically', async () => {
    expect(await failure(process.execPath)).toMatchObject({
      code: 'JAIL_FAILED',
      message: expect.stringMatching(/linked dynamically.*static release.*smartvm install.*jail: false/),
    });
  });
});
