import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rmdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { defaultDataDir } from '../../ts/config/directories.js';
import { SmartVMError } from '../../ts/errors.js';
import { SmartVM } from '../../ts/smartvm.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { isAlive } from '../../ts/util/process-identity.js';
import { run } from '../../ts/util/run.js';
import type { PruneReport } from '../../ts/vmm/registry/prune.js';
import { ManagerBench } from '../support/manager.js';
import { mountTmpfs, type Tmpfs } from '../support/tmpfs.js';
import { rejectionOf, VMMS, type VmmAtHand } from '../support/toy-vm.js';

const isRoot = process.getuid?.() === 0;
const CAN_RUN = process.arch === 'x64' && isRoot;
/** Files and clocks are the same for all: the fastest. */
const VMM = VMMS.at(-1) as VmmAtHand;

let bench: ManagerBench;
let smartvm: SmartVM;

beforeEach(async () => {
  bench = await ManagerBench.open(VMM);
  smartvm = new SmartVM(bench.options);
});

afterEach(async () => {
  vi.useRealTimers();
  await Promise.all((await smartvm.attachAll()).vms.map((vm) => vm.cleanup())); // of a test that failed
  await smartvm.cleanup();
  await bench[Symbol.asyncDispose]();
});

const create = () => smartvm.createVM(bench.config(bench.id()));

async function liveOnce(): Promise<void> {
  const vm = await create();
  await vm.start();
  expect((await vm.getInfo()).state).toBe('Running');
  await vm.cleanup();
  expect(await bench.leftovers()).toEqual([]);
}

describe.skipIf(!CAN_RUN)('a runtime directory', () => {
  let tmpfs: Tmpfs;

  beforeEach(async () => {
    tmpfs = await mountTmpfs(bench.runtimeDir);
  });

  afterEach(async () => {
    await tmpfs[Symbol.asyncDispose]();
  });

  /** Starts that find less room than they need, at whatever step, until one has enough. */
  async function fillUp(optionsOf: (step: number) => string): Promise<number> {
    for (let step = 0; ; step++) {
      await tmpfs.remount(optionsOf(step));
      const outcome = await liveOnce().catch((error: unknown) => error);
      if (outcome === undefined) {
        return step;
      }
      expect(outcome, `${optionsOf(step)}: ${outcome}`).toBeInstanceOf(SmartVMError);
      await smartvm.cleanup();
      await tmpfs.remount('size=16m,nr_inodes=4096');
      expect((await smartvm.prune()).unreadable).toEqual([]);
      expect(await bench.leftovers(), optionsOf(step)).toEqual([]);
    }
  }

  test('in which no file can be made any more fails a start at whatever step, with a typed error and nothing left', async () => {
    await liveOnce(); // makes what stays
    const stays = await inodes();
    expect(await fillUp((step) => `nr_inodes=${stays + step}`)).toBeGreaterThan(5);
  });

  test('that is full fails a start at whatever step, with a typed error and nothing left', async () => {
    await liveOnce();
    expect(await fillUp((step) => `size=${4 * (step + 1)}k`)).toBeGreaterThan(1);
  });

  test('that is read-only fails a start, and the reclaiming of what is dead until it can be written to again', async () => {
    const id = bench.id(2);
    await using manager = bench.manager({ configs: [bench.config(id)] });
    await manager.word();
    const { keeper, vmm } = await bench.identitiesOf(id);
    process.kill(keeper.pid, 'SIGKILL');
    process.kill(vmm.pid, 'SIGKILL');
    await manager.kill();
    await bench.ends(keeper, vmm); // nobody has a file open any more
    await tmpfs.setReadOnly(true);
    expect(await rejectionOf(create().then((vm) => vm.start()))).toBeInstanceOf(SmartVMError);
    const failed = await smartvm.prune().catch((error: unknown) => error);
    expect(failed instanceof SmartVMError ? failed : (failed as PruneReport).vms[0]?.error).toBeInstanceOf(
      SmartVMError,
    );
    await tmpfs.setReadOnly(false);
    expect((await smartvm.prune()).vms).toMatchObject([{ id }]);
    expect(await bench.leftovers()).toEqual([]);
    await liveOnce();
  });
});

/** How many files and folders there are in the runtime directory, itself included. */
async function inodes(): Promise<number> {
  return (await readdir(bench.runtimeDir, { recursive: true })).length + 1;
}

/** Long before and long after today. */
const CLOCKS = [new Date('1971-01-01'), new Date('2106-01-01')];

describe.skipIf(!CAN_RUN).each(CLOCKS)('a clock that says %s', (clock) => {
  /** All that a VM has on disk was written then. */
  async function writtenThen(): Promise<void> {
    const names = await readdir(bench.runtimeDir, { recursive: true });
    // Links of leases are not followed, for they lead nowhere.
    await Promise.all(names.map((name) => utimes(join(bench.runtimeDir, name), clock, clock).catch(() => undefined)));
  }

  test('changes nothing for VMs that live, and nothing for those that are dead', async () => {
    const [living, dead] = [bench.id(1), bench.id(2)];
    await using manager = bench.manager({ configs: [bench.config(living)], detached: true });
    await using other = bench.manager({ configs: [bench.config(dead)] });
    await Promise.all([manager.word(), other.word()]);
    const { keeper, vmm } = await bench.identitiesOf(dead);
    process.kill(other.pid, 'SIGSTOP'); // it would undo it itself
    process.kill(keeper.pid, 'SIGKILL');
    await manager.kill();
    await other.kill();
    await bench.ends(keeper);
    await writtenThen();
    vi.useFakeTimers({ toFake: ['Date'], now: clock });
    expect((await smartvm.prune()).vms.map(({ id }) => id)).toEqual([dead]);
    await bench.ends(vmm);
    const vm = await smartvm.attach(living);
    expect((await vm.getInfo()).state).toBe('Running');
    await writtenThen();
    await vm.cleanup();
    expect(await bench.leftovers()).toEqual([]);
    await liveOnce();
  });
});

describe.skipIf(!CAN_RUN)('a reboot', () => {
  /** Prunes as it is done by a program of another boot: this one's id is another's there. */
  async function pruneAfterReboot(): Promise<PruneReport> {
    const bootId = bench.scratch.file('boot-id');
    await writeFile(bootId, `${randomUUID()}\n`);
    const inNamespace = 'mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"';
    const program = [process.execPath, '--import', 'tsx', join(PACKAGE_ROOT, 'test/fixtures/prune.ts')];
    const args = ['--mount', '--propagation', 'private', 'sh', '-c', inNamespace, 'sh', bootId, ...program];
    const stdout = await run('unshare', [...args, bench.runtimeDir], { cwd: PACKAGE_ROOT });
    return JSON.parse(stdout.toString()) as PruneReport;
  }

  test('leaves files of VMs, detached or not, which the next program removes; no process is touched', async () => {
    const [first, second] = [bench.id(1), bench.id(2)];
    await using manager = bench.manager({ configs: [bench.config(first)], detached: true });
    await using other = bench.manager({ configs: [bench.config(second)] });
    await Promise.all([manager.word(), other.word()]);
    const [one, two] = [await bench.identitiesOf(first), await bench.identitiesOf(second)];
    const cgroups = [...(await bench.cgroupsOf(first)), ...(await bench.cgroupsOf(second))];
    process.kill(one.keeper.pid, 'SIGSTOP'); // the pid of a stranger after the reboot
    const victims = [one.vmm, two.vmm, two.keeper];
    for (const { pid } of victims) {
      process.kill(pid, 'SIGKILL');
    }
    await Promise.all([manager.kill(), other.kill()]);
    await bench.ends(two.keeper, two.vmm);
    const { vms, unreadable } = await pruneAfterReboot();
    expect([vms.map(({ id, error }) => [id, error]), unreadable]).toEqual([
      [
        [first, undefined],
        [second, undefined],
      ],
      [],
    ]);
    expect(vms.flatMap(({ things }) => things.map(({ kind }) => kind))).not.toContain('process');
    expect(await isAlive(one.keeper)).toBe(true);
    process.kill(one.keeper.pid, 'SIGKILL');
    await bench.ends(one.keeper);
    await Promise.all(cgroups.map((path) => rmdir(path))); // which a reboot takes along
    expect(await bench.leftovers()).toEqual([]);
    await liveOnce();
  });
});

describe.skipIf(!CAN_RUN)('a data directory', () => {
  const resolve = (dataDir: string) => new SmartVM({ dataDir }).imageManager.resolve('debian');

  test('that is read-only serves the images that it has', async () => {
    const image = await resolve(defaultDataDir()); // built here, should it not be there
    const dataDir = bench.scratch.file('data');
    await mkdir(dataDir);
    await run('mount', ['--bind', defaultDataDir(), dataDir]);
    try {
      await run('mount', ['-o', 'remount,bind,ro', dataDir]);
      expect((await resolve(dataDir)).digest).toBe(image.digest);
    } finally {
      await run('umount', [dataDir]);
    }
  });

  test('in which nothing can be written fails a build with a typed error, and is as it was', async () => {
    const dataDir = bench.scratch.file('data');
    await using tmpfs = await mountTmpfs(dataDir);
    const expectRefusal = async () => {
      const before = await readdir(dataDir, { recursive: true });
      expect(await rejectionOf(resolve(dataDir))).toBeInstanceOf(SmartVMError);
      expect(await readdir(dataDir, { recursive: true })).toEqual(before);
    };
    await tmpfs.setReadOnly(true);
    await expectRefusal();
    await tmpfs.setReadOnly(false);
    // Room for the folder, then for the lock, then for the folder of the build.
    for (const inodes of [1, 2, 3, 4, 5]) {
      await tmpfs.remount(`nr_inodes=${inodes}`);
      expect(await rejectionOf(resolve(dataDir)), `${inodes}`).toBeInstanceOf(SmartVMError);
      expect(await readdir(join(dataDir, 'images/building')).catch(() => [])).toEqual([]);
    }
  });
});
