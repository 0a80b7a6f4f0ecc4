import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { writeHolder } from '../../../../ts/util/holder.js';
import { currentProcess, isAlive, processIdentity } from '../../../../ts/util/process-identity.js';
import { run } from '../../../../ts/util/run.js';
import { openLeaseDirectory } from '../../../../ts/vmm/lease-directory.js';
import { prune } from '../../../../ts/vmm/registry/prune.js';
import { EMPTY_JOURNAL, renderRecord, type VmRecord } from '../../../../ts/vmm/registry/record.js';
import { snapshotJournal } from '../../../../ts/vmm/registry/snapshot-journal.js';
import { sampleRecord } from '../../../support/record.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

const DEAD = { pid: 1, startTime: '999999999999' };
const isRoot = process.getuid?.() === 0;

let scratch: ScratchDirectory;
let owner: VmRecord['owner'];

beforeEach(async () => {
  scratch = await scratchDirectory();
  vi.stubEnv('SMARTVM_RUNTIME_DIR', scratch.file('run'));
  await mkdir(scratch.file('run'), { mode: 0o700 });
  owner = { ...DEAD, bootId: currentProcess().bootId };
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await scratch[Symbol.asyncDispose]();
});

/** The directory of a VM whose program is dead. */
async function plant(id: string, part: Partial<VmRecord> = {}): Promise<string> {
  const path = scratch.file('run', id);
  await mkdir(join(path, 'vmm'), { recursive: true, mode: 0o700 });
  await writeFile(join(path, 'vm.json'), renderRecord(await sampleRecord({ id, owner, ...part })));
  return path;
}

const pruneRun = () => prune(scratch.file('run'));
const vmDirectories = async () => (await readdir(scratch.file('run'))).filter((name) => !name.startsWith('.'));

async function sleeper(...args: string[]) {
  const child = spawn('sh', ['-c', 'exec sleep 1000', ...args], { stdio: 'ignore' });
  await once(child, 'spawn');
  const identity = await processIdentity(child.pid ?? 0);
  if (!identity) {
    throw new Error('the sleeper does not live');
  }
  return { identity, [Symbol.dispose]: () => void child.kill('SIGKILL') };
}

describe('reclaiming a dead VM', () => {
  test('leaves a process alone that has its pid by now, or its pid and time but not its name', async () => {
    using stranger = await sleeper();
    const { identity } = stranger;
    const keeper = owner;
    await plant('reused', { processes: { keeper, vmm: { ...identity, startTime: '1' } } });
    await plant('rebooted', { processes: { keeper, vmm: { ...identity, bootId: 'another' } } });
    await plant('unnamed', { processes: { keeper, vmm: identity } });
    expect((await pruneRun()).vms.map(({ id }) => id).toSorted()).toEqual(['rebooted', 'reused', 'unnamed']);
    expect(await isAlive(identity)).toBe(true);
    expect(await vmDirectories()).toEqual([]);
  });

  test('removes its sockets, but neither one on which somebody listens, nor a file, nor a link', async () => {
    const path = (name: string) => scratch.file(name);
    const listening = createServer().listen(path('listening'));
    const dead = createServer().listen(path('dead'));
    await Promise.all([once(listening, 'listening'), once(dead, 'listening')]);
    await run('mv', [path('dead'), path('moved')]); // Node removes what it knows of
    dead.close();
    await writeFile(path('file'), 'mine');
    await symlink(path('moved'), path('link'));
    const sockets = ['listening', 'file', 'link', 'absent'].map(path);
    await plant('vm-1', { journal: { ...EMPTY_JOURNAL, sockets } });
    await plant('vm-2', { journal: { ...EMPTY_JOURNAL, sockets: [path('moved')] } });
    await pruneRun();
    expect((await readdir(scratch.path)).toSorted()).toEqual(['file', 'link', 'listening', 'run']);
    listening.close();
  });

  test('removes the folders in which its snapshots were being written, and nothing else that a link of it names', async () => {
    const name = (number: number) => `.smartvm-12345678-1234-1234-1234-12345678901${number}`;
    const [own, done, other] = [scratch.file(name(1)), scratch.file(name(2)), scratch.file('precious')];
    await Promise.all([own, done, other].map((path) => mkdir(path)));
    await writeFile(join(own, 'memory'), 'half');
    const path = await plant('vm-1');
    const journal = snapshotJournal(path);
    await Promise.all([own, done].map((folder) => journal.make(folder)));
    await journal.removed(done);
    await symlink(other, join(path, name(3)));
    await symlink(other, join(path, 'precious'));
    await writeFile(join(path, name(4)), other);
    expect((await pruneRun()).vms).toMatchObject([{ things: [{ kind: 'folder', name: own }, { kind: 'directory' }] }]);
    expect([own, done, other].map(existsSync)).toEqual([false, true, true]);
  });

  test('does not follow links out of its directory', async () => {
    await mkdir(scratch.file('elsewhere'));
    await writeFile(scratch.file('elsewhere', 'file'), 'mine');
    await symlink(scratch.file('elsewhere'), join(await plant('vm-1'), 'link'));
    await symlink(scratch.file('elsewhere'), scratch.file('run', 'vm-2'));
    const { vms, unreadable } = await pruneRun();
    expect([vms.map(({ id }) => id), unreadable.map(({ id, problem }) => [id, problem])]).toEqual([
      ['vm-1'],
      [['vm-2', 'missing']],
    ]);
    expect(await readdir(scratch.file('elsewhere'))).toEqual(['file']);
  });

  test('after a reboot looks at files alone', async () => {
    using stranger = await sleeper('sh', '--id', 'vm-1');
    const before = { ...DEAD, bootId: '00000000-0000-0000-0000-000000000000' };
    const journal = { ...EMPTY_JOURNAL, uid: process.getuid?.() || 1_900_000_001, taps: ['lo'] };
    await plant('vm-1', { owner: before, processes: { keeper: before, vmm: stranger.identity }, journal });
    expect((await pruneRun()).vms).toMatchObject([{ id: 'vm-1', things: [{ kind: 'directory' }] }]);
    expect(await isAlive(stranger.identity)).toBe(true);
  });

  test('gives its leases back, and nobody else’s', async () => {
    const directory = await openLeaseDirectory('uid');
    const runtimeDir = await plant('vm-1', { journal: { ...EMPTY_JOURNAL, uid: 1_900_000_001 } });
    const alive = { id: 'vm-1', runtimeDir, owner: currentProcess() };
    await writeHolder(join(directory, '1900000001'), { ...alive, owner });
    await writeHolder(join(directory, '1900000002'), alive);
    await writeHolder(join(directory, '1900000003'), { ...alive, id: 'gone', runtimeDir: '/nowhere/gone', owner });
    await writeFile(join(directory, '1900000004'), 'not ours');
    const { vms, others } = await pruneRun();
    expect([vms[0]?.things, others]).toMatchObject([
      [{ kind: 'lease', name: 'uid 1900000001' }, { kind: 'directory' }],
      [{ kind: 'lease', name: 'uid 1900000003' }],
    ]);
    expect((await readdir(directory)).toSorted()).toEqual(['.lock', '1900000002', '1900000004']);
  });

  test.skipIf(!isRoot)('leaves a TAP alone that is not its uid’s', async () => {
    const tap = `sv${process.pid}r`;
    await run('ip', ['tuntap', 'add', 'dev', tap, 'mode', 'tap', 'user', '1900000009']);
    try {
      await plant('vm-1', { journal: { ...EMPTY_JOURNAL, uid: 1_900_000_001, taps: [tap] } });
      await plant('vm-2', { journal: { ...EMPTY_JOURNAL, taps: [tap] } });
      await pruneRun();
      expect(existsSync(`/sys/class/net/${tap}`)).toBe(true);
      await plant('vm-3', { journal: { ...EMPTY_JOURNAL, uid: 1_900_000_009, taps: [tap] } });
      expect((await pruneRun()).vms).toMatchObject([{ things: [{ kind: 'tap', name: tap }, { kind: 'directory' }] }]);
      expect(existsSync(`/sys/class/net/${tap}`)).toBe(false);
    } finally {
      await run('ip', ['link', 'delete', 'dev', tap]).catch(() => undefined);
    }
  });

  test.skipIf(!isRoot)('stays where something is mounted in its directory, and says so', async () => {
    const path = await plant('vm-1');
    await mkdir(join(path, 'a b'));
    await run('mount', ['-t', 'tmpfs', 'none', join(path, 'a b')]);
    try {
      await writeFile(join(path, 'a b', 'file'), 'mine');
      expect((await pruneRun()).vms).toMatchObject([{ id: 'vm-1', things: [], error: { code: 'CLEANUP_FAILED' } }]);
      expect(await readdir(join(path, 'a b'))).toEqual(['file']);
    } finally {
      await run('umount', [join(path, 'a b')]);
    }
    expect((await pruneRun()).vms).toMatchObject([{ id: 'vm-1', things: [{ kind: 'directory' }] }]);
  });
});

describe('pruning', () => {
  test('sets records aside that it cannot read, whatever the others are', async () => {
    const path = await plant('corrupt');
    await writeFile(join(path, 'vm.json'), '{"version":1');
    await writeFile(join(await plant('newer'), 'vm.json'), '{"version":7}');
    await mkdir(scratch.file('run', 'missing'));
    await plant('dead');
    await plant('alive', { owner: currentProcess() });
    const { vms, unreadable } = await pruneRun();
    expect(vms.map(({ id }) => id)).toEqual(['dead']);
    expect(Object.fromEntries(unreadable.map(({ id, problem }) => [id, problem]))).toEqual({
      corrupt: 'corrupt',
      missing: 'missing',
      newer: 'newer',
    });
    expect((await vmDirectories()).toSorted()).toEqual(['alive', 'corrupt', 'missing', 'newer']);
  });

  test('removes folders half made or half removed by programs that are dead', async () => {
    const { pid, startTime } = currentProcess();
    const names = [
      '.new-1-99999-ab',
      '.gone-1-99999-ab',
      `.new-${pid}-${startTime}-ab`,
      `.gone-${pid}-${startTime}-ab`,
    ];
    await Promise.all([...names, '.other'].map((name) => mkdir(scratch.file('run', name, 'x'), { recursive: true })));
    const { others } = await pruneRun();
    expect(others.map(({ name }) => name).toSorted()).toEqual(
      names
        .slice(0, 2)
        .map((name) => scratch.file('run', name))
        .toSorted(),
    );
    expect((await readdir(scratch.file('run'))).filter((name) => !/lease|lock/.test(name)).toSorted()).toEqual(
      [...names.slice(2), '.other'].toSorted(),
    );
  });

  test('of nothing, and of no directory at all, does nothing', async () => {
    expect(await pruneRun()).toEqual({ vms: [], others: [], unreadable: [] });
    expect(await prune(scratch.file('nowhere'))).toEqual({ vms: [], others: [], unreadable: [] });
  });
});
