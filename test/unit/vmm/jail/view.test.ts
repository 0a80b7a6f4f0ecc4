import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PACKAGE_ROOT } from '../../../../ts/util/package-root.js';
import { firecrackerView, isCovered, qemuView, type ViewRequest } from '../../../../ts/vmm/jail/view.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

const UID = 1_900_000_007;
const ARGS = ['--api-sock', '/run/x/vmm/api.sock', '--id', 'x', '--level', 'Info'];
const PATHS = [
  { path: '/run/x/vmm', access: 'write' },
  { path: '/images/base', access: 'read' },
  { path: '/logs/log', access: 'create' },
] as const;
const MOUNTS = [
  { path: '/run/x/vmm', writable: true },
  { path: '/images/base', writable: false },
  { path: '/logs/log', writable: true },
];

let scratch: ScratchDirectory;

beforeEach(async () => {
  scratch = await scratchDirectory();
});

afterEach(async () => {
  await scratch[Symbol.asyncDispose]();
});

const request = (part: Partial<ViewRequest> = {}): ViewRequest => ({
  ...{ id: 'x', executable: '/bin/firecracker', uid: UID, base: '/run/x/jail', paths: PATHS, limits: {} },
  ...part,
});

describe('firecrackerView', () => {
  test('is what the VM opens, and nothing more; the jailer enters it', async () => {
    await mkdir(scratch.file('bin'));
    const executable = scratch.file('bin', 'firecracker-v1.16.1');
    await writeFile(executable, '');
    await symlink(executable, scratch.file('firecracker'));
    const view = firecrackerView(request({ executable: scratch.file('firecracker') }), '/bin/jailer');
    expect(view).toMatchObject({ mounts: MOUNTS, enter: null });
    expect(view.root).toBe('/run/x/jail/firecracker-v1.16.1/x/root'); // named by what the link leads to, as the jailer has it
    expect(view.command(ARGS)).toEqual([
      ...['/bin/jailer', '--id', 'x', '--uid', String(UID), '--gid', String(UID)],
      ...['--exec-file', scratch.file('firecracker'), '--chroot-base-dir', '/run/x/jail'],
      ...['--resource-limit', 'no-file=4096', '--resource-limit', `fsize=${2 ** 40}`],
      ...['--', '--api-sock', '/run/x/vmm/api.sock', '--level', 'Info'], // the jailer gives the id on
    ]);
  });

  test('has the limits that were asked for', async () => {
    await writeFile(scratch.file('firecracker'), '');
    const limits = { openFiles: 100, fileSizeMib: 2 };
    const view = firecrackerView(request({ executable: scratch.file('firecracker'), limits }), '/bin/jailer');
    expect(view.command([])).toEqual(expect.arrayContaining(['no-file=100', `fsize=${2 * 2 ** 20}`]));
  });
});

describe('qemuView', () => {
  test('is what the VM opens, and what its programs need, read-only', () => {
    const view = qemuView(request({ executable: `${PACKAGE_ROOT}/bin/smartvm-qemu` }));
    expect(view.root).toBe('/run/x/jail/root');
    expect(view.mounts).toEqual(expect.arrayContaining(MOUNTS));
    const others = view.mounts.filter(({ path }) => !MOUNTS.some((mount) => mount.path === path));
    expect(others.filter(({ writable, recursive }) => writable || !recursive)).toEqual([]);
    for (const { path } of others) {
      expect(path).toMatch(
        /^\/(usr|bin|sbin|lib\w*|etc\/(alternatives|ld\.so\.cache))$|\/node$|\/(bin|dist|package\.json)$/,
      );
    }
    expect(others.map(({ path }) => path)).toContain(join(PACKAGE_ROOT, 'dist'));
    expect(view.command(ARGS)).toEqual([expect.stringContaining('node'), `${PACKAGE_ROOT}/bin/smartvm-qemu`, ...ARGS]);
  });

  test('keeps the links of the host’s root, in place of mounts', () => {
    const { links = {}, mounts } = qemuView(request());
    for (const [path, target] of Object.entries(links)) {
      expect([path, target]).toEqual([expect.stringMatching(/^\//), expect.stringMatching(/^(\/?usr\/|[\w-]+$)/)]);
      expect(mounts.map((mount) => mount.path)).not.toContain(path);
    }
  });

  test('has few devices, a bounded /tmp, and the limits of its processes', () => {
    expect(qemuView(request({ limits: { openFiles: 100, fileSizeMib: 2 } })).enter).toEqual({
      devices: ['/dev/null', '/dev/zero', '/dev/random', '/dev/urandom', '/dev/kvm', '/dev/net/tun'],
      ...{ proc: true, tmpBytes: 64 * 2 ** 20, hostname: 'smartvm', openFiles: 100, fileSizeBytes: 2 * 2 ** 20 },
    });
  });
});

test('isCovered is for what lies in a folder itself', () => {
  const of = (path: string) => isCovered(path, '/run/x/vmm');
  expect(['/run/x/vmm/overlay.img', '/run/x/vmm/a/b', '/run/x/vmm-other', '/run/x/vmm'].map(of)).toEqual([
    ...[true, false, false, false],
  ]);
});
