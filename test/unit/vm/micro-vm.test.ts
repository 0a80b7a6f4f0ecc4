import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { IMicroVMConfig } from '../../../ts/config/types.js';
import { SmartVMError } from '../../../ts/errors.js';
import type { Reserve } from '../../../ts/vm/boot-context.js';
import { MicroVM } from '../../../ts/vm/micro-vm.js';
import type { VmState } from '../../../ts/vm/state.js';
import { scratchDirectory } from '../../support/scratch.js';

const CONFIG: IMicroVMConfig = { bootSource: { kernelImagePath: '/nonexistent/vmlinux' } };

const vmIn = (directory: string, config: IMicroVMConfig = CONFIG) =>
  new MicroVM('vm-1', config, '/nonexistent/vmm', `${directory}/api.sock`, {});

describe('a MicroVM that has not been started', () => {
  test('has its state and its configuration, and nothing on disk', async () => {
    await using scratch = await scratchDirectory();
    const vm = vmIn(scratch.path);
    expect(vm).toMatchObject({ id: 'vm-1', state: 'created', socketPath: scratch.file('api.sock'), timings: [] });
    expect(vm.config.config.bootSource?.kernelImagePath).toBe('/nonexistent/vmlinux');
    expect(await readdir(scratch.path)).toEqual([]);
  });

  test.each<[string, string, (vm: MicroVM) => unknown]>([
    ['pause()', 'INVALID_STATE', (vm) => vm.pause()],
    ['resume()', 'INVALID_STATE', (vm) => vm.resume()],
    ['exec()', 'INVALID_STATE', (vm) => vm.exec(['true'])],
    ['spawn()', 'INVALID_STATE', (vm) => vm.spawn(['true'])],
    ['getInfo()', 'NO_CLIENT', (vm) => vm.getInfo()],
    ['writeConsole()', 'NO_CLIENT', (vm) => vm.writeConsole('x')],
    ['consoleTail()', 'NO_CLIENT', (vm) => vm.consoleTail()],
    ['api', 'NO_CLIENT', async (vm) => vm.api],
    ['pid', 'NO_CLIENT', async (vm) => vm.pid],
  ])('refuses %s with %s', async (_call, code, call) => {
    await using scratch = await scratchDirectory();
    const vm = vmIn(scratch.path);
    await expect(call(vm)).rejects.toMatchObject({ code, details: { id: 'vm-1', state: 'created' } });
    expect(vm.state).toBe('created');
  });

  test('refuses to start with an invalid configuration, and can be mended by nobody but a new one', async () => {
    await using scratch = await scratchDirectory();
    const vm = vmIn(scratch.path, { bootSource: { kernelImagePath: '' } });
    await expect(vm.start()).rejects.toMatchObject({ code: 'INVALID_CONFIG' });
    expect(vm.state).toBe('created');
    expect(await readdir(scratch.path)).toEqual([]);
  });

  test('is stopped by stop(), which says that nothing ran, however often', async () => {
    await using scratch = await scratchDirectory();
    const vm = vmIn(scratch.path);
    const states: VmState[] = [];
    vm.on('state', (state) => states.push(state));
    vm.on('exit', () => expect.unreachable('it never ran'));
    expect(await Promise.all([vm.stop(), vm.stop({ force: true }), vm.stop()])).toEqual(
      Array(3).fill({ rung: 'none' }),
    );
    await vm.cleanup();
    await vm[Symbol.asyncDispose]();
    expect(states).toEqual(['stopped']);
    await expect(vm.start()).rejects.toMatchObject({ code: 'INVALID_STATE', details: { state: 'stopped' } });
  });

  test('that is being stopped cannot be started behind its back', async () => {
    await using scratch = await scratchDirectory();
    const vm = vmIn(scratch.path);
    const stopping = vm.stop();
    await expect(vm.start()).rejects.toMatchObject({ code: 'INVALID_STATE' });
    expect(await stopping).toEqual({ rung: 'none' });
    expect(vm.state).toBe('stopped');
  });
});

describe('what a VM reserves of the host', () => {
  const reservingIn = (directory: string, reserve: Reserve) =>
    new MicroVM('vm-1', CONFIG, '/nonexistent/vmm', `${directory}/api.sock`, {}, { reserve });

  test('comes before anything is made, and is given back when all else is', async () => {
    await using scratch = await scratchDirectory();
    const seen: unknown[] = [];
    const vm = reservingIn(scratch.path, async ({ queueMs }) => {
      seen.push(queueMs, await readdir(scratch.path));
      return async () => void seen.push(await readdir(scratch.path));
    });
    await expect(vm.start({ queueMs: 7 })).rejects.toMatchObject({ code: 'VMM_SPAWN_FAILED' });
    expect(seen).toEqual([7, [], []]);
    expect(vm.timings[0]?.step).toBe('capacity');
  });

  test('ends the start when it is refused', async () => {
    await using scratch = await scratchDirectory();
    const vm = reservingIn(scratch.path, async () => {
      throw new SmartVMError('CAPACITY_EXCEEDED', 'no room');
    });
    await expect(vm.start()).rejects.toMatchObject({ code: 'CAPACITY_EXCEEDED' });
    expect(vm.state).toBe('failed');
    expect(await readdir(scratch.path)).toEqual([]);
  });

  test('is waited for no longer when the VM is stopped', async () => {
    await using scratch = await scratchDirectory();
    const vm = reservingIn(scratch.path, async ({ signal }) => {
      await once(signal, 'abort');
      throw new Error('it was canceled');
    });
    const refused = expect(vm.start()).rejects.toMatchObject({ code: 'CANCELED' });
    expect(await vm.stop()).toEqual({ rung: 'none' });
    await refused;
    expect(vm.state).toBe('stopped');
  });

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '1'])('queueMs %s: INVALID_OPTION', async (queueMs) => {
    await using scratch = await scratchDirectory();
    const vm = vmIn(scratch.path);
    await expect(vm.start({ queueMs: queueMs as number })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect(vm.state).toBe('created');
  });
});

describe('a start that fails before there is a VMM', () => {
  test('its signal had aborted: CANCELED, nothing made', async () => {
    await using scratch = await scratchDirectory();
    const vm = vmIn(scratch.path);
    await expect(vm.start({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELED' });
    expect(vm.state).toBe('failed');
    expect(await readdir(scratch.path)).toEqual([]);
  });

  test('stop() in a listener of the first change ends it', async () => {
    await using scratch = await scratchDirectory();
    const vm = vmIn(scratch.path);
    let stopping: Promise<unknown> = Promise.resolve();
    vm.on('state', (state) => {
      if (state === 'starting') {
        stopping = vm.stop();
      }
    });
    await expect(vm.start()).rejects.toMatchObject({ code: 'CANCELED' });
    expect(await stopping).toEqual({ rung: 'none' });
    expect(vm.state).toBe('stopped');
    expect(await readdir(scratch.path)).toEqual([]);
  });

  test('a runtime directory that is there: VM_EXISTS, and it stays as it is', async () => {
    await using scratch = await scratchDirectory();
    await using other = await scratchDirectory();
    const vm = new MicroVM(
      'vm-1',
      CONFIG,
      '/nonexistent/vmm',
      scratch.file('api.sock'),
      {},
      { runtimeDir: other.path },
    );
    await expect(vm.start()).rejects.toMatchObject({
      code: 'VM_EXISTS',
      message: expect.stringContaining('remove it'),
    });
    expect(await readdir(other.path)).toEqual([]);
  });

  test('a socket path over 107 bytes: SOCKET_PATH_TOO_LONG, nothing left', async () => {
    await using scratch = await scratchDirectory();
    const options = { runtimeDir: scratch.file('vm') };
    const socketPath = scratch.file('x'.repeat(108 - scratch.file('').length));
    const vm = new MicroVM('vm-1', CONFIG, '/bin/true', socketPath, {}, options);
    await expect(vm.start()).rejects.toMatchObject({ code: 'SOCKET_PATH_TOO_LONG' });
    expect(await readdir(scratch.path)).toEqual([]);
  });
});
