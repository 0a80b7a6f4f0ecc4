import { existsSync, readlinkSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { run } from '../../ts/util/run.js';
import * as jailed from '../support/jailed.js';
import { rejectionOf, type ToyBench, type ToyVm } from '../support/toy-vm.js';

const MIB = 2 ** 20;
const LIMITS = {
  memoryOverheadMib: 600,
  cpuPercent: 150,
  pids: 100,
  ioBytesPerSecond: 50_000_000,
  ioOperationsPerSecond: 5_000,
  openFiles: 1_000,
  fileSizeMib: 500,
};
/** What every Linux host has, and no jail. */
const OF_THE_HOST = ['/etc/passwd', '/etc/shadow', '/root', '/home', '/var', '/sys', '/boot', '/etc/hostname'];

describe.skipIf(!jailed.CAN_JAIL).each(jailed.JAILED_VMMS)(`the jail of $name${jailed.LEFT_OUT}`, (vmm) => {
  let bench: ToyBench;
  let toy: ToyVm;
  let other: ToyVm;
  let uid: number;
  let otherUid: number;
  let pids: number[];

  /** Of root alone, as an image in a cache is. */
  const file = async (name: string) => {
    await writeFile(bench.scratch.file(name), `the content of ${name}`, { mode: 0o600 });
    await truncate(bench.scratch.file(name), MIB);
    return bench.scratch.file(name);
  };
  const drive = async (name: string, isReadOnly: boolean) => ({
    ...{ driveId: name, pathOnHost: await file(name), isRootDevice: false, isReadOnly },
  });
  const inside = (path: string) => `/proc/${toy.vm.pid}/root${path}`;

  beforeAll(async () => {
    bench = await jailed.openJailBench(vmm, { limits: LIMITS });
    await file('secret');
    toy = await bench.boot({ drives: [await drive('base', true), await drive('data', false)] });
    other = await bench.boot({ drives: [await drive('others', false)] });
    [uid, otherUid] = [await jailed.uidOf(toy.vm), await jailed.uidOf(other.vm)];
    pids = await jailed.pidsOf(uid);
  });

  afterAll(async () => {
    await toy.vm.cleanup();
    await other.vm.cleanup();
    expect(await jailed.remainsOf(bench)).toEqual([]);
    await bench[Symbol.asyncDispose]();
    vi.unstubAllEnvs();
  });

  it('has a uid of its own, and no group, capability or way to gain one, in every thread', async () => {
    expect(uid).toBeGreaterThanOrEqual(jailed.TEST_UIDS.first);
    expect(uid).toBeLessThan(jailed.TEST_UIDS.first + jailed.TEST_UIDS.count);
    expect(otherUid).not.toBe(uid);
    const programs = await Promise.all(pids.map(jailed.programOf));
    expect(programs.some((name) => /^(firecracker|qemu-system-)/.test(name))).toBe(true);
    for (const [index, pid] of pids.entries()) {
      for (const task of await readdir(`/proc/${pid}/task`)) {
        const fields = await jailed.fieldsOf(`${pid}/task/${task}`);
        expect([programs[index], fields]).toEqual([
          programs[index],
          expect.objectContaining({
            Uid: Array(4).fill(uid).join('\t'),
            Gid: Array(4).fill(uid).join('\t'),
            Groups: '',
            NoNewPrivs: '1',
            ...{ CapInh: '0'.repeat(16), CapPrm: '0'.repeat(16), CapEff: '0'.repeat(16), CapAmb: '0'.repeat(16) },
            Seccomp: '2',
          }),
        ]);
      }
    }
  });

  it('shares no namespace but time and user with the host, nor with another VM', () => {
    for (const name of ['mnt', 'pid', 'ipc', 'uts', 'net']) {
      const own = new Set(pids.map((pid) => readlinkSync(`/proc/${pid}/ns/${name}`)));
      expect([name, own.size]).toEqual([name, 1]);
      expect([...own]).not.toContain(readlinkSync(`/proc/self/ns/${name}`));
      expect([...own]).not.toContain(readlinkSync(`/proc/${other.vm.pid}/ns/${name}`));
    }
    for (const pid of pids) {
      expect(readlinkSync(`/proc/${pid}/ns/cgroup`)).not.toBe(readlinkSync('/proc/self/ns/cgroup'));
    }
  });

  it('is in its cgroups, which have the limits', async () => {
    const memory = String((32 + LIMITS.memoryOverheadMib) * MIB);
    for (const pid of pids) {
      const at = await jailed.cgroupsOf(pid);
      const read = (controller: string, name: string) => readFile(`${at[controller] ?? at.v2}/${name}`, 'utf8');
      expect(at.pids ?? at.v2).toMatch(new RegExp(`/smartvm/${toy.vm.id}\\.${uid}$`));
      expect((await read('pids', 'pids.max')).trim()).toBe('100');
      expect((await read('memory', at.memory ? 'memory.limit_in_bytes' : 'memory.max')).trim()).toBe(memory);
      const quota = at.cpu ? [await read('cpu', 'cpu.cfs_quota_us'), await read('cpu', 'cpu.cfs_period_us')] : [];
      expect((at.cpu ? quota : [await read('cpu', 'cpu.max')]).join(' ').split(/\s+/).slice(0, 2)).toEqual([
        '150000',
        '100000',
      ]);
    }
  });

  it('is held to the limits of I/O on the disk of its files', async (context) => {
    const device = (await run('findmnt', ['-no', 'MAJ:MIN', '-T', bench.scratch.path])).toString().trim();
    context.skip(!existsSync(`/sys/dev/block/${device}/queue`), `${bench.scratch.path} is on no whole disk`);
    const at = await jailed.cgroupsOf(toy.vm.pid);
    const names = ['read_bps', 'write_bps', 'read_iops', 'write_iops'];
    const limits = at.blkio
      ? await Promise.all(names.map((name) => readFile(`${at.blkio}/blkio.throttle.${name}_device`, 'utf8')))
      : [await readFile(`${at.v2}/io.max`, 'utf8')];
    expect(limits.map((line) => line.trim())).toEqual(
      at.blkio
        ? [50_000_000, 50_000_000, 5_000, 5_000].map((limit) => `${device} ${limit}`)
        : [`${device} rbps=50000000 wbps=50000000 riops=5000 wiops=5000`],
    );
  });

  it('may open so many files, write so much into one, and dumps no core', async () => {
    for (const pid of pids) {
      expect(await jailed.limitOf(pid, 'Max open files')).toEqual(['1000', '1000']);
      expect(await jailed.limitOf(pid, 'Max file size')).toEqual(Array(2).fill(String(500 * MIB)));
      expect(await jailed.limitOf(pid, 'Max core file size')).toEqual(['0', '0']);
    }
  });

  it('sees its own files and nothing else of the host', async () => {
    expect(OF_THE_HOST.filter((path) => existsSync(inside(path)))).toEqual([]);
    expect(existsSync(inside(bench.scratch.file('base')))).toBe(true);
    expect((await readdir(inside(bench.scratch.path))).toSorted()).toEqual(['base', 'data', 'run', 'toy']);
    expect(await readdir(inside(bench.runtimeDir))).toEqual([toy.vm.id]);
    expect(await readdir(inside(`${bench.runtimeDir}/${toy.vm.id}`))).toEqual(['vmm']);
    const environment = await readFile(`/proc/${toy.vm.pid}/environ`, 'utf8');
    expect(environment.split('\0').map((variable) => variable.split('=')[0])).not.toContain('HOME');
  });

  it('can read its drives by its uid, and neither another VM’s nor by another way', async () => {
    const content = (path: string) => jailed.runBy(uid, 'head', '-c', '16', path);
    expect(await content(inside(bench.scratch.file('data')))).toMatchObject({ code: 0, stdout: 'the content of d' });
    const denied = { code: 1, stdout: '', stderr: expect.stringContaining('Permission denied') };
    for (const path of [
      `/proc/${other.vm.pid}/root${bench.scratch.file('others')}`,
      `/proc/${other.vm.pid}/environ`,
      bench.scratch.file('secret'),
      bench.scratch.file('others'),
      `${bench.runtimeDir}/${other.vm.id}/vmm/stderr`,
      `${bench.runtimeDir}/${toy.vm.id}/jail.json`,
    ]) {
      expect([path, await content(path)]).toEqual([path, denied]);
    }
    expect(existsSync(inside(bench.scratch.file('others')))).toBe(false);
  });

  it('can signal its own processes, and none of another VM', async () => {
    const signal = (pid: number) => jailed.runBy(uid, 'kill', '-0', String(pid));
    expect(await signal(toy.vm.pid)).toMatchObject({ code: 0 });
    expect(await signal(other.vm.pid)).toMatchObject({ code: 1, stderr: expect.stringContaining('not permitted') });
    expect(await signal(process.pid)).toMatchObject({ code: 1, stderr: expect.stringContaining('not permitted') });
  });

  it('can write to the drives that are writable, by the bytes, and change no owner or mode', async () => {
    const data = inside(bench.scratch.file('data'));
    const write = `printf CHANGED | dd of=${data} conv=notrunc status=none`;
    const before = await jailed.sealOf(bench.scratch.file('base'));
    expect(await jailed.runBy(uid, 'sh', '-c', write)).toMatchObject({ code: 0 });
    expect((await readFile(bench.scratch.file('data'))).subarray(0, 7).toString()).toBe('CHANGED');
    expect(await jailed.sealOf(bench.scratch.file('data'))).toMatchObject({ uid: 0n, gid: 0n, mode: 0o100600n });
    const base = inside(bench.scratch.file('base'));
    for (const command of [`echo x >> ${base}`, `chmod 666 ${base}`, `touch ${base}`, `rm -f ${base}`]) {
      expect([command, await jailed.runBy(uid, 'sh', '-c', command)]).toEqual([
        command,
        expect.objectContaining({ code: expect.not.toSatisfy((code) => code === 0) }),
      ]);
    }
    expect(await jailed.sealOf(bench.scratch.file('base'))).toEqual(before);
  });

  it('cannot plant anything where the host connects', async () => {
    const folder = inside(`${bench.runtimeDir}/${toy.vm.id}/vmm`);
    for (const command of [
      `ln -s /etc/passwd ${folder}/vsock.sock_1`,
      `touch ${folder}/new`,
      `mv ${folder}/api.sock ${folder}/old`,
      `rm -f ${folder}/api.sock`,
      `chmod 777 ${folder}`,
    ]) {
      const { code, stderr } = await jailed.runBy(uid, 'sh', '-c', command);
      expect([command, code, stderr]).toEqual([command, 1, expect.stringMatching(/denied|not permitted/)]);
    }
  });

  it('leaves the files that it reads as they were', async () => {
    const paths = [bench.kernelImagePath, await file('cached')];
    await chmod(bench.kernelImagePath, 0o600);
    const before = await Promise.all(paths.map(jailed.sealOf));
    const third = await bench.boot({
      drives: [{ driveId: 'cached', pathOnHost: paths[1] as string, isReadOnly: true }],
    });
    await third.pong();
    await third.vm.cleanup();
    expect(await Promise.all(paths.map(jailed.sealOf))).toEqual(before);
  });

  it('has a drive that it is given while it runs, at the same path', async () => {
    const later = await file('later');
    const before = await jailed.sealOf(later);
    expect(existsSync(inside(later))).toBe(false);
    await toy.vm.updateDrive({ driveId: 'base', pathOnHost: later });
    expect((await jailed.runBy(uid, 'head', '-c', '11', inside(later))).stdout).toBe('the content');
    expect((await jailed.runBy(uid, 'sh', '-c', `echo x >> ${inside(later)}`)).code).not.toBe(0);
    expect(await jailed.sealOf(later)).toEqual(before);
    await toy.pong();
  });

  it('puts its snapshots where they are wanted, as root’s, and leaves no folder of its work', async () => {
    const folder = bench.scratch.file('snapshots');
    await mkdir(folder, { mode: 0o700 });
    const paths = { snapshotPath: `${folder}/state`, memFilePath: `${folder}/memory` };
    await toy.vm.createSnapshot(paths);
    expect((await readdir(folder)).toSorted()).toEqual(['memory', 'state']);
    for (const path of Object.values(paths)) {
      expect(await jailed.sealOf(path)).toMatchObject({ uid: 0n, gid: 0n });
      expect(existsSync(inside(path))).toBe(false);
    }
    await toy.pong();
  });

  it('leaves no folder of a snapshot that fails', async () => {
    const folder = bench.scratch.file('full');
    await mkdir(folder);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', folder]);
    try {
      const paths = { snapshotPath: `${folder}/state`, memFilePath: `${folder}/memory` };
      expect(await rejectionOf(toy.vm.createSnapshot(paths))).toMatchObject({ code: expect.any(String) });
      expect(await readdir(folder)).toEqual([]);
      await toy.pong();
    } finally {
      await run('umount', [folder]);
    }
  });
});
