import { existsSync } from 'node:fs';
import { mkdir, readdir, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { writeHolder } from '../../../../ts/util/holder.js';
import { currentProcess } from '../../../../ts/util/process-identity.js';
import { run } from '../../../../ts/util/run.js';
import type { VmmExit } from '../../../../ts/vmm/exit.js';
import { openLeaseDirectory } from '../../../../ts/vmm/lease-directory.js';
import { prune, sweep } from '../../../../ts/vmm/registry/prune.js';
import { EMPTY_JOURNAL, renderRecord, type VmRecord } from '../../../../ts/vmm/registry/record.js';
import { sampleRecord } from '../../../support/record.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

const UID = 1_900_000_001;
const FILES = ['console.log', 'console.log.1', 'state.json', 'timings.json', 'vmm.log', 'vmm.log.1'];
const isRoot = process.getuid?.() === 0;

let scratch: ScratchDirectory;
let owner: VmRecord['owner'];

beforeEach(async () => {
  scratch = await scratchDirectory();
  vi.stubEnv('SMARTVM_RUNTIME_DIR', scratch.file('run'));
  await mkdir(scratch.file('run'), { mode: 0o700 });
  owner = { ...currentProcess(), pid: 1, startTime: '999999999999' };
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await scratch[Symbol.asyncDispose]();
});

/** A detached VM that has ended, with all that one has, and its leases. */
async function plant(
  id: string,
  { exit = {}, ...part }: Partial<VmRecord> & { exit?: Partial<VmmExit> | null } = {},
): Promise<string> {
  const path = scratch.file('run', id);
  await mkdir(join(path, 'vmm', 'jail'), { recursive: true, mode: 0o700 });
  await mkdir(join(path, 'jail'));
  const journal = { ...EMPTY_JOURNAL, uid: UID };
  const record = await sampleRecord({ id, name: 'web', owner, detached: true, journal, ...part });
  const ended = { exitCode: 3, signal: null, reason: 'exited', startedAt: null, exitedAt: '2026-01-01T00:00:00.000Z' };
  const files: Record<string, string> = {
    'vm.json': renderRecord(record),
    ...Object.fromEntries(FILES.map((name) => [name, `the ${name}`])),
    'guest.json': 'a key',
    'jail.json': '{}',
    ...(exit && { 'exit.json': JSON.stringify({ ...ended, ...exit }) }),
  };
  await Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(path, name), text)));
  await writeFile(join(path, 'vmm', 'overlay.img'), '');
  await truncate(join(path, 'vmm', 'overlay.img'), 2 ** 30);
  const holder = { id, runtimeDir: path, owner };
  await writeHolder(join(await openLeaseDirectory('uid'), String(UID)), holder);
  await writeHolder(join(await openLeaseDirectory('name', scratch.file('run')), 'web'), holder);
  return path;
}

const sweepRun = () => sweep(scratch.file('run'));
const pruneRun = (exitedBefore?: Date) => prune(scratch.file('run'), { exitedBefore });
const leases = async (kind: 'uid' | 'name') =>
  (await readdir(scratch.file('run/.leases', kind))).filter((name) => name !== '.lock');
const vmDirectories = async () => (await readdir(scratch.file('run'))).filter((name) => !name.startsWith('.'));

describe('a VM that has outlived its program and has ended by itself', () => {
  test.each([
    ['exited', {}],
    ['timeout', { exit: { reason: 'timeout' } }],
    ['keeper-lost', { exit: null }],
  ] as const)('(%s) gives all back in the sweep but what is read of it', async (_what, part) => {
    const path = await plant('vm-1', part);
    await symlink('/nowhere', join(path, '.smartvm-12345678-1234-1234-1234-123456789012'));
    expect((await sweepRun()).vms).toEqual([
      {
        ...{ id: 'vm-1', path, exited: false },
        things: [
          { kind: 'lease', name: `uid ${UID}` },
          { kind: 'lease', name: 'name web' },
          { kind: 'directory', name: join(path, 'vmm') },
        ],
      },
    ]);
    const kept = [...FILES, ...('exit' in part && part.exit === null ? [] : ['exit.json']), 'vm.json'];
    expect((await readdir(path)).toSorted()).toEqual(kept.toSorted());
    expect([await leases('uid'), await leases('name')]).toEqual([[], []]);
    expect((await readdir(scratch.file('run'))).filter((name) => name.startsWith('.gone'))).toEqual([]);
    expect(await sweepRun()).toEqual({ vms: [], others: [], unreadable: [] });
  });

  test('is removed whole by prune, which says so, and what others have by now of what it had stays', async () => {
    const path = await plant('vm-1');
    await sweepRun();
    const next = { id: 'vm-2', runtimeDir: scratch.file('run/vm-2'), owner: currentProcess() };
    await writeHolder(join(await openLeaseDirectory('uid'), String(UID)), next);
    const directory = { kind: 'directory', name: path };
    const expected = { vms: [{ id: 'vm-1', path, exited: true, things: [directory] }], others: [], unreadable: [] };
    expect(await prune(scratch.file('run'), { dryRun: true })).toEqual(expected);
    expect(existsSync(path)).toBe(true);
    expect(await pruneRun()).toEqual(expected);
    expect([await vmDirectories(), await leases('uid')]).toEqual([[], [String(UID)]]);
  });

  test('stays for prune, too, where it has ended too late, and gives back what it had', async () => {
    const [early, late, lost] = [
      await plant('early', { exit: { exitedAt: '2026-01-01T10:00:00.000Z' } }),
      await plant('late', { exit: { exitedAt: '2026-01-01T12:00:00.000Z' } }),
      await plant('lost', { exit: null }),
    ];
    const noon = new Date('2026-01-01T12:00:00.000Z');
    expect((await pruneRun(noon)).vms.map(({ id, exited }) => [id, exited])).toEqual([
      ['early', true],
      ['late', false],
      ['lost', false],
    ]);
    expect([early, late, lost].map(existsSync)).toEqual([false, true, true]);
    expect(existsSync(join(late, 'vmm'))).toBe(false);
    await utimes(lost, 0, 0);
    expect((await pruneRun(noon)).vms.map(({ id }) => id)).toEqual(['lost']); // when it was last seen
    expect((await pruneRun()).vms.map(({ id }) => id)).toEqual(['late']);
  });

  test('is removed by the sweep when enough others have ended later', async () => {
    const [first] = [
      await plant('first', { exit: { exitedAt: '2026-01-01T10:00:00.000Z' } }),
      await plant('third', { exit: { exitedAt: '2026-01-01T12:00:00.000Z' } }),
      await plant('second', { exit: { exitedAt: '2026-01-01T11:00:00.000Z' } }),
    ];
    expect((await sweep(scratch.file('run'), 2)).vms.map(({ exited }) => exited)).toEqual([false, false, false]);
    expect((await sweep(scratch.file('run'), 3)).vms).toEqual([]);
    const things = [{ kind: 'directory', name: first }];
    expect((await sweep(scratch.file('run'), 2)).vms).toEqual([{ id: 'first', path: first, exited: true, things }]);
    expect((await vmDirectories()).toSorted()).toEqual(['second', 'third']);
  });

  test.skipIf(!isRoot)('stays whole where something is mounted in it, until that is gone', async () => {
    const path = await plant('vm-1');
    await run('mount', ['-t', 'tmpfs', 'none', join(path, 'vmm', 'jail')]);
    try {
      expect((await sweepRun()).vms).toMatchObject([{ id: 'vm-1', error: { code: 'CLEANUP_FAILED' } }]);
      expect(existsSync(join(path, 'guest.json'))).toBe(true);
    } finally {
      await run('umount', [join(path, 'vmm', 'jail')]);
    }
    expect((await sweepRun()).vms).toMatchObject([{ id: 'vm-1', things: [{ kind: 'directory' }] }]);
  });
});

describe('nothing stays in the sweep', () => {
  test.each([
    ['a VM of a program that is dead', { detached: false }],
    ['one that was stopped', { exit: { reason: 'stopped' } }],
    ['one of which nothing is to stay', { removeOnExit: true }],
  ] as const)('of %s', async (_what, part) => {
    await plant('vm-1', part);
    expect((await sweepRun()).vms).toMatchObject([{ id: 'vm-1', exited: false }]);
    expect(await vmDirectories()).toEqual([]);
  });
});
