import { readdir, stat, truncate, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { IMicroVMConfig } from '../../ts/config/types.js';
import { type CreateVMOptions, SmartVM, type SmartVMOptions } from '../../ts/smartvm.js';
import { overcommitFor } from '../support/reserver.js';
import { scratchDirectory } from '../support/scratch.js';

const CONFIG: IMicroVMConfig = { id: 'vm-1', bootSource: { kernelImagePath: '/nonexistent/vmlinux' } };

afterEach(() => void vi.unstubAllEnvs());

const smartvmIn = (directory: string, options: SmartVMOptions = {}) =>
  new SmartVM({
    ...options,
    dataDir: `${directory}/data`,
    runtimeDir: `${directory}/run`,
    firecrackerBinaryPath: '/nonexistent/vmm',
  });

describe('createVM()', () => {
  test('makes the runtime directory, for this user alone, and takes the VM on the list until it has ended', async () => {
    await using scratch = await scratchDirectory();
    const smartvm = smartvmIn(scratch.path);
    const vm = await smartvm.createVM(CONFIG);
    expect(vm).toMatchObject({
      id: 'vm-1',
      state: 'created',
      socketPath: scratch.file('run', 'vm-1', 'vmm', 'api.sock'),
    });
    expect((await stat(scratch.file('run'))).mode & 0o777).toBe(0o700);
    expect([smartvm.listVMs(), smartvm.getVM('vm-1')]).toEqual([['vm-1'], vm]);
    await vm.stop();
    expect(smartvm.vmCount).toBe(0);
    expect(await readdir(scratch.file('run'))).toEqual([]);
  });

  test('of one id twice, also at once: VM_EXISTS for all but one, which stays on the list', async () => {
    await using scratch = await scratchDirectory();
    await using smartvm = smartvmIn(scratch.path);
    const results = await Promise.allSettled([1, 2, 3].map(() => smartvm.createVM(CONFIG)));
    const [made, ...others] = results.toSorted((a, b) => a.status.localeCompare(b.status));
    expect(made).toMatchObject({ status: 'fulfilled', value: smartvm.getVM('vm-1') });
    expect(others).toMatchObject(Array(2).fill({ status: 'rejected', reason: { code: 'VM_EXISTS' } }));
    await expect(smartvm.createVM(CONFIG)).rejects.toMatchObject({ code: 'VM_EXISTS' });
  });

  test.each<[string, IMicroVMConfig, string]>([
    ['an id that leaves the directory', { ...CONFIG, id: '../x' }, 'INVALID_ID'],
    ['an id of 65 characters', { ...CONFIG, id: 'x'.repeat(65) }, 'INVALID_ID'],
    ['no kernel', { ...CONFIG, bootSource: { kernelImagePath: '' } }, 'INVALID_CONFIG'],
  ])('refuses %s before anything is made', async (_what, config, code) => {
    await using scratch = await scratchDirectory();
    const smartvm = smartvmIn(scratch.path);
    await expect(smartvm.createVM(config)).rejects.toMatchObject({ code });
    expect(smartvm.vmCount).toBe(0);
    expect(await readdir(scratch.path)).toEqual([]);
  });

  test('refuses two ids whose socket paths have their first 108 bytes in common', async () => {
    await using scratch = await scratchDirectory();
    const smartvm = smartvmIn(scratch.file('x'.repeat(40)));
    for (const last of ['a', 'b']) {
      const id = `${'i'.repeat(60)}${last}`;
      await expect(smartvm.createVM({ ...CONFIG, id })).rejects.toMatchObject({ code: 'SOCKET_PATH_TOO_LONG' });
    }
    expect(await readdir(scratch.path)).toEqual([]);
  });
});

describe('the capacity of the host', () => {
  const machine = (memSizeMib: number): IMicroVMConfig => ({ ...CONFIG, machineConfig: { memSizeMib } });

  test('is asked by the start of a VM, and has it all back when that has failed', async () => {
    await using scratch = await scratchDirectory();
    vi.stubEnv('SMARTVM_RUNTIME_DIR', scratch.file('default'));
    const smartvm = smartvmIn(scratch.path, { capacity: { memoryOvercommit: overcommitFor(300) } });
    const small = await smartvm.createVM(machine(200));
    expect(await readdir(scratch.path)).toEqual(['run']);
    await expect(small.start()).rejects.toMatchObject({ code: 'VMM_SPAWN_FAILED' });
    expect(await readdir(scratch.file('default', '.leases', 'capacity'))).toEqual([]);
    const large = await smartvm.createVM(machine(300));
    await expect(large.start({ queueMs: 60_000 })).rejects.toMatchObject({ code: 'MEMORY_EXCEEDED' });
    const growing = await smartvm.createVM({ ...machine(200), memoryHotplug: { totalSizeMib: 128 } });
    await expect(growing.start()).rejects.toMatchObject({ code: 'MEMORY_EXCEEDED' });
  });

  test('of a restored VM: what its memory file has, or what the caller says', async () => {
    await using scratch = await scratchDirectory();
    vi.stubEnv('SMARTVM_RUNTIME_DIR', scratch.file('default'));
    const smartvm = smartvmIn(scratch.path, { capacity: { memoryOvercommit: overcommitFor(300) } });
    await writeFile(scratch.file('memory'), '');
    await truncate(scratch.file('memory'), 300 * 2 ** 20);
    const restore: CreateVMOptions['restore'] = {
      snapshotPath: '/nonexistent/state',
      memBackend: { backendType: 'File', backendPath: scratch.file('memory') },
    };
    const start = async (options: CreateVMOptions) => await (await smartvm.createVM({}, options)).start();
    await expect(start({ restore })).rejects.toMatchObject({ code: 'MEMORY_EXCEEDED' });
    const said = { restore, capacity: { memSizeMib: 1 } };
    await expect(start(said)).rejects.toMatchObject({ code: 'VMM_SPAWN_FAILED' });
    const handler = { ...restore, memBackend: { backendType: 'Uffd', backendPath: '/nonexistent/uffd' } } as const;
    await expect(start({ restore: handler })).rejects.toMatchObject({ code: 'VMM_SPAWN_FAILED' });
    await expect(start({ capacity: { memSizeMib: -1 } })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test('is not asked where the caller says so', async () => {
    await using scratch = await scratchDirectory();
    vi.stubEnv('SMARTVM_RUNTIME_DIR', scratch.file('default'));
    const vm = await smartvmIn(scratch.path, { capacity: false }).createVM(machine(1e9));
    await expect(vm.start()).rejects.toMatchObject({ code: 'VMM_SPAWN_FAILED' });
    expect(await readdir(scratch.path)).toEqual(['run']);
  });

  test.each<[unknown]>([
    [{ memoryOvercommit: 0 }],
    [{ memoryOvercommit: Number.NaN }],
    [{ cpuOvercommit: -1 }],
    [{ cpuOvercommit: '2' }],
    [{ overcommit: 2 }],
    [true],
  ])('%j is no option: INVALID_OPTION', (capacity) => {
    expect(() => new SmartVM({ capacity } as SmartVMOptions)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });

  test.each([{ queueMs: -1 }, { memSizeMib: 1e9 }])(
    'launch(%j) is refused before anything is made',
    async (options) => {
      await using scratch = await scratchDirectory();
      const code = 'queueMs' in options ? 'INVALID_OPTION' : 'MEMORY_EXCEEDED';
      await expect(smartvmIn(scratch.path).launch(options)).rejects.toMatchObject({ code });
      expect(await readdir(scratch.path)).toEqual([]);
    },
  );
});
