import { readdir, stat } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { IMicroVMConfig } from '../../ts/config/types.js';
import { SmartVM } from '../../ts/smartvm.js';
import { scratchDirectory } from '../support/scratch.js';

const CONFIG: IMicroVMConfig = { id: 'vm-1', bootSource: { kernelImagePath: '/nonexistent/vmlinux' } };

const smartvmIn = (directory: string) =>
  new SmartVM({
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
