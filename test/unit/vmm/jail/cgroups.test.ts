import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeCgroups } from '../../../../ts/vmm/jail/cgroups.js';
import { cgroupLimits } from '../../../../ts/vmm/jail/limits.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

/** The kernel's part, on a file system without cgroups: a VM's directory comes with its files, and goes with them. */
const kernel = vi.hoisted(() => ({ files: [] as string[] }));
vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>();
  return {
    ...real,
    mkdirSync: (path: string, options?: object) => {
      real.mkdirSync(path, options);
      if (basename(path) === 'vm.1') {
        kernel.files.map((name) => real.writeFileSync(`${path}/${name}`, ''));
      }
    },
  };
});
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return { ...real, rmdir: vi.fn((path: string) => real.rm(path, { recursive: true })) };
});

const LIMITS = cgroupLimits('firecracker', { memSizeMib: 256, vcpuCount: 1 }, {}, []);
const MEMORY = String(384 * 2 ** 20);
const V2 = ['memory.max', 'memory.swap.max', 'cpu.max', 'pids.max', 'io.max'];
const V1 = ['memory.limit_in_bytes', 'cpu.cfs_period_us', 'cpu.cfs_quota_us', 'pids.max'];

let scratch: ScratchDirectory;

beforeEach(async () => {
  scratch = await scratchDirectory();
});

afterEach(async () => {
  await scratch[Symbol.asyncDispose]();
});

const read = async (path: string) => await readFile(scratch.file(path), 'utf8');

async function plant(path: string, content: string): Promise<void> {
  await mkdir(dirname(scratch.file(path)), { recursive: true });
  await writeFile(scratch.file(path), content);
}

/** A hierarchy of version 2 in which nothing is handed down yet but memory and pids to the first level. */
async function plantV2(controllers: string): Promise<Mount> {
  await plant('cg/cgroup.controllers', `${controllers}\n`);
  await plant('cg/cgroup.subtree_control', 'memory pids\n');
  await plant('cg/smartvm/cgroup.subtree_control', '');
  return ['cg', 'cgroup2', 'nsdelegate'];
}

async function plantV1(...names: string[]): Promise<Mount[]> {
  await Promise.all(names.map((name) => mkdir(scratch.file('v1', name), { recursive: true })));
  return names.map((name) => [`v1/${name}`, 'cgroup', name]);
}

type Mount = [at: string, type: string, options: string];

/** What is mounted, as the kernel lists it. */
async function mountinfo(...mounts: Mount[]): Promise<string> {
  const lines = mounts.map(
    ([at, type, options]) => `30 24 0:26 / ${scratch.file(at)} rw,nosuid shared:9 - ${type} ${type} rw,${options}\n`,
  );
  await plant('mountinfo', `24 1 254:0 / / rw - ext4 /dev/vda rw\n${lines.join('')}`);
  return scratch.file('mountinfo');
}

describe('makeCgroups', () => {
  test('of version 2 makes one, hands the controllers down to it, and removes it', async () => {
    kernel.files = V2;
    const file = await mountinfo(await plantV2('cpuset cpu io memory hugetlb pids'));
    const { directories, remove } = await makeCgroups('vm.1', LIMITS, file);
    expect(directories).toEqual([scratch.file('cg/smartvm/vm.1')]);
    expect(await read('cg/cgroup.subtree_control')).toBe('+cpu +io');
    expect(await read('cg/smartvm/cgroup.subtree_control')).toBe('+memory +cpu +pids +io');
    const contents = await Promise.all(V2.map((name) => read(`cg/smartvm/vm.1/${name}`)));
    expect(contents).toEqual([MEMORY, '0', '200000 100000', '256', '']);
    await remove();
    await remove();
    expect(await readdir(scratch.file('cg/smartvm'))).toEqual(['cgroup.subtree_control']);
  });

  test('of version 1 makes one in each hierarchy, and none where two controllers share one', async () => {
    kernel.files = V1;
    const [cpu, ...others] = await plantV1('cpu,cpuacct', 'memory', 'pids', 'blkio', 'freezer');
    const { directories, remove } = await makeCgroups('vm.1', LIMITS, await mountinfo(cpu as Mount, ...others));
    expect(directories).toEqual(
      ['cpu,cpuacct', 'memory', 'pids', 'blkio'].map((name) => scratch.file('v1', name, 'smartvm/vm.1')),
    );
    expect(await read('v1/memory/smartvm/vm.1/memory.limit_in_bytes')).toBe(MEMORY);
    expect(await read('v1/cpu,cpuacct/smartvm/vm.1/cpu.cfs_quota_us')).toBe('200000');
    expect(await read('v1/memory/smartvm/vm.1/pids.max')).toBe(''); // another's
    await remove();
    expect(directories.filter((path) => existsSync(path))).toEqual([]);
  });

  test('of both takes each controller where it is', async () => {
    kernel.files = [...V1, ...V2];
    const mounts = [...(await plantV1('memory', 'cpu')), await plantV2('io pids')];
    const { directories } = await makeCgroups('vm.1', LIMITS, await mountinfo(...mounts));
    expect(directories).toEqual(['v1/memory', 'v1/cpu', 'cg'].map((at) => scratch.file(at, 'smartvm/vm.1')));
    expect(await read('cg/smartvm/vm.1/pids.max')).toBe('256');
    expect(await read('cg/smartvm/vm.1/memory.max')).toBe('');
    expect(await read('v1/memory/smartvm/vm.1/memory.limit_in_bytes')).toBe(MEMORY);
  });

  test('takes no limits over that a crash has left under the name', async () => {
    kernel.files = V2;
    const file = await mountinfo(await plantV2('cpu io memory pids'));
    await plant('cg/smartvm/vm.1/old', 'left');
    await makeCgroups('vm.1', LIMITS, file);
    expect((await readdir(scratch.file('cg/smartvm/vm.1'))).toSorted()).toEqual(V2.toSorted());
  });

  test('goes without the file for swap on a kernel that does not account for it', async () => {
    kernel.files = V2.filter((name) => name !== 'memory.swap.max');
    await makeCgroups('vm.1', LIMITS, await mountinfo(await plantV2('cpu io memory pids')));
    expect(existsSync(scratch.file('cg/smartvm/vm.1/memory.swap.max'))).toBe(false);
  });

  test('leaves none of them where a limit cannot be set', async () => {
    kernel.files = V1.filter((name) => name !== 'pids.max');
    const file = await mountinfo(...(await plantV1('memory', 'cpu', 'pids', 'blkio')));
    await expect(makeCgroups('vm.1', LIMITS, file)).rejects.toMatchObject({
      code: 'CGROUP_UNAVAILABLE',
      message: expect.stringMatching(/v1\/pids\/smartvm\/vm\.1\/pids\.max.*Delegate=yes.*jail\.cgroups to 'none'/),
    });
    for (const name of ['memory', 'cpu', 'pids', 'blkio']) {
      expect(existsSync(scratch.file('v1', name, 'smartvm/vm.1'))).toBe(false);
    }
  });

  test.each([
    ['none', '', 'memory, cpu, pids, io'],
    ['two', 'cpu memory', 'pids, io'],
  ])(
    'names the controllers that are missing where there are %s, and makes nothing',
    async (_what, offered, missing) => {
      const file = await mountinfo(await plantV2(offered));
      await expect(makeCgroups('vm.1', LIMITS, file)).rejects.toMatchObject({
        code: 'CGROUP_UNAVAILABLE',
        message: expect.stringMatching(new RegExp(`^no cgroup controller for ${missing}; .*Delegate=yes`)),
      });
      expect(await readdir(scratch.file('cg/smartvm'))).toEqual(['cgroup.subtree_control']);
    },
  );

  test('waits for what is about to end in one that it removes', async () => {
    kernel.files = V2;
    const { remove } = await makeCgroups('vm.1', LIMITS, await mountinfo(await plantV2('cpu io memory pids')));
    const busy = Object.assign(new Error('busy'), { code: 'EBUSY' });
    vi.mocked(rmdir).mockRejectedValueOnce(busy).mockRejectedValueOnce(busy);
    await remove();
    expect(existsSync(scratch.file('cg/smartvm/vm.1'))).toBe(false);
  });
});
