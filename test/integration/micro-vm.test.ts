import { existsSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { programPath } from '../../ts/config/programs.js';
import { SmartVMError } from '../../ts/errors.js';
import type { ApiError } from '../../ts/firecracker/api-error.js';
import type { Guest } from '../../ts/guest/types.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { isAlive } from '../../ts/util/process-identity.js';
import { BOOT } from '../../ts/vm/boot.js';
import type { VmExit } from '../../ts/vm/exit.js';
import type { VmState } from '../../ts/vm/state.js';
import { identityOf, requireKeeper } from '../support/keeper-bench.js';
import { until } from '../support/leftovers.js';
import { stopwatch } from '../support/stopwatch.js';
import { openToyBench } from '../support/toy-bench.js';

/** One suite over every VMM: what is true of one is true of all. */
const VMMS: [string, string | undefined][] = [
  ['smartvm-qemu', join(PACKAGE_ROOT, 'bin/smartvm-qemu')],
  ['Firecracker (set SMARTVM_FIRECRACKER to its path)', process.env.SMARTVM_FIRECRACKER],
];

const GRACE_MS = 300;
/** So much that the last of it is still on its way when the VMM has ended. */
const ANSWERS = 10_000;

beforeAll(requireKeeper);

describe.each(VMMS)('MicroVM on %s', (_name, executable) => {
  const skipped = executable === undefined || process.arch !== 'x64';
  const openBench = () => openToyBench(executable ?? '');

  describe.skipIf(skipped)('with the toy guest', () => {
    test('boots, talks, pauses, resumes and stops, with nothing left', async () => {
      await using bench = await openBench();
      const vm = bench.vm();
      const states: VmState[] = [];
      const exits: VmExit[] = [];
      vm.on('state', (state) => states.push(state)).on('exit', (exit) => exits.push(exit));
      await vm.start();
      await bench.says(vm, 'TOY GUEST UP');
      await vm.writeConsole('p');
      await bench.says(vm, 'PONG');
      expect(await vm.getInfo()).toMatchObject({ id: vm.id, state: 'Running' });
      const vmm = await identityOf(vm.pid);

      await vm.pause();
      expect(await vm.getInfo()).toMatchObject({ state: 'Paused' });
      await vm.writeConsole(Buffer.from('p'));
      await vm.resume();
      expect(await vm.getInfo()).toMatchObject({ state: 'Running' });
      await bench.says(vm, 'PONG\nPONG');

      expect(await vm.stop({ graceMs: GRACE_MS })).toEqual({ rung: 'SIGTERM' });
      expect(states).toEqual([
        'starting',
        'running',
        'pausing',
        'paused',
        'resuming',
        'running',
        'stopping',
        'stopped',
      ]);
      expect(exits).toMatchObject([{ reason: 'stopped', orderly: true, error: undefined }]);
      expect(await isAlive(vmm)).toBe(false);
      expect(await bench.leftovers()).toEqual([]);
      expect(vm.timings.map(({ step }) => step).toSorted()).toEqual(
        BOOT.flatMap((line) => line.map(({ name }) => name)).toSorted(),
      );
      expect(await vm.stop()).toEqual({ rung: 'SIGTERM' });
      await expect(vm.getInfo()).rejects.toMatchObject({ code: 'NO_CLIENT' });
    });

    test("a guest that resets itself ends the VM in order: 'exit' says so, behind all of its console", async () => {
      await using bench = await openBench();
      const vm = bench.vm();
      await vm.start();
      await bench.says(vm, 'TOY GUEST UP');
      const exit = bench.exitOf(vm);
      await vm.writeConsole(`${'p'.repeat(ANSWERS)}q`);
      expect(await exit).toMatchObject({ reason: 'guest-shutdown', orderly: true, exitCode: 0, signal: null });
      expect(bench.consoleOf(vm)).toBe(`TOY GUEST UP\n${'PONG\n'.repeat(ANSWERS)}`);
      expect(vm.state).toBe('stopped');
      expect(await bench.leftovers()).toEqual([]);
      expect(await vm.stop()).toEqual({ rung: 'none' });
    });

    test('a VMM that is killed is noticed within a second, and everything is released', async () => {
      await using bench = await openBench();
      const vm = bench.vm();
      await vm.start();
      await bench.says(vm, 'TOY GUEST UP');
      const exit = bench.exitOf(vm);
      const tookMs = stopwatch();
      process.kill(vm.pid, 'SIGKILL');
      expect(await exit).toMatchObject({
        reason: 'vmm-killed',
        orderly: false,
        exitCode: null,
        signal: 'SIGKILL',
        error: { code: 'VMM_EXITED', details: { consoleTail: ['TOY GUEST UP'] } },
      });
      expect(tookMs()).toBeLessThan(1_000);
      expect(vm.state).toBe('failed');
      await until(async () => (await bench.leftovers()).length === 0, 30_000, 'the end of what the VMM had started');
      await expect(vm.pause()).rejects.toMatchObject({ code: 'INVALID_STATE' });
      expect(await vm.stop()).toEqual({ rung: 'none' });
    });

    test('a VMM that is gone when its start has succeeded', async () => {
      await using bench = await openBench();
      const guest = { close: () => undefined } as unknown as Guest;
      const vm = bench.vm({}, async () => async ({ explain }) => {
        process.kill(await bench.vmmPid(), 'SIGKILL');
        await explain?.(new SmartVMError('AGENT_UNREACHABLE', 'and waits for its end'));
        return guest;
      });
      const exit = bench.exitOf(vm);
      await vm.start();
      expect(await exit).toMatchObject({ reason: 'vmm-killed' });
      await until(async () => (await bench.leftovers()).length === 0, 30_000, 'the end of what the VMM had started');
    });

    test('a keeper that is killed takes the VMM with it, and both are cleared up behind', async () => {
      await using bench = await openBench();
      const vm = bench.vm();
      await vm.start();
      const keeperOf = async () => (await bench.processes()).find((line) => line.includes(programPath('keeper')));
      await until(async () => (await keeperOf()) !== undefined, 30_000, 'the keeper');
      const exit = bench.exitOf(vm);
      process.kill(Number.parseInt((await keeperOf()) ?? '', 10), 'SIGKILL');
      expect(await exit).toMatchObject({ reason: 'vmm-killed', error: { message: expect.stringContaining('keeper') } });
      await until(async () => (await bench.leftovers()).length === 0, 30_000, 'the end of what the VMM had started');
    });

    test('a paused VM is stopped without asking its guest; force goes straight to SIGKILL', async () => {
      await using bench = await openBench();
      const [paused, forced] = [bench.vm(), bench.vm()];
      await Promise.all([paused.start(), forced.start()]);
      await paused.pause();
      await expect(paused.pause()).rejects.toMatchObject({ code: 'INVALID_STATE' });
      expect(await paused.stop({ graceMs: 60_000 })).toEqual({ rung: 'SIGTERM' });
      expect(await forced.stop({ force: true })).toEqual({ rung: 'SIGKILL' });
      expect(await bench.leftovers()).toEqual([]);
    });

    test('force hurries a stop that is waiting for the guest', async () => {
      await using bench = await openBench();
      const vm = bench.vm();
      await vm.start();
      const gentle = vm.stop({ graceMs: 60_000 });
      expect(await vm.stop({ force: true })).toEqual({ rung: 'SIGKILL' });
      expect(await gentle).toEqual({ rung: 'SIGKILL' });
      expect(vm.state).toBe('stopped');
      expect(await bench.leftovers()).toEqual([]);
    });

    test('a stop in the middle of a pause waits for it', async () => {
      await using bench = await openBench();
      const vm = bench.vm();
      await vm.start();
      const [pausing, stopping] = [vm.pause(), vm.stop({ graceMs: 60_000 })];
      await pausing;
      expect(await stopping).toEqual({ rung: 'SIGTERM' });
      expect(await bench.leftovers()).toEqual([]);
    });

    test('a request over the limit of the API is refused with its words, and the client goes on', async () => {
      await using bench = await openBench();
      const vm = bench.vm();
      await vm.start();
      const error = await vm.api.client
        .put('/mmds', { a: 'x'.repeat(60_000) })
        .catch((reason: unknown) => reason as ApiError);
      expect(error).toMatchObject({ code: 'API_REFUSED', status: 400, faultMessage: expect.stringMatching(/51200/) });
      const calls = await Promise.all(Array.from({ length: 100 }, () => vm.getInfo()));
      expect(new Set(calls.map(({ state }) => state))).toEqual(new Set(['Running']));
    });

    describe('a start that fails undoes everything', () => {
      test('a kernel that is not there: API_REFUSED', async () => {
        await using bench = await openBench();
        const vm = bench.vm({ bootSource: { kernelImagePath: bench.scratch.file('absent') } });
        const error = await vm.start().catch((reason: unknown) => reason as ApiError);
        expect(error).toMatchObject({ code: 'API_REFUSED', status: 400, method: 'PUT', path: '/boot-source' });
        expect((error as ApiError).faultMessage).toMatch(/No such file/);
        expect(vm.state).toBe('failed');
        expect(await bench.leftovers()).toEqual([]);
      });

      test('a kernel that is none: API_REFUSED after all the devices, whose sockets go too', async () => {
        await using bench = await openBench();
        await writeFile(bench.scratch.file('text'), 'this is not a kernel'.repeat(1_000));
        const vm = bench.vm({ bootSource: { kernelImagePath: bench.scratch.file('text') } });
        await expect(vm.start()).rejects.toMatchObject({ code: 'API_REFUSED' });
        expect(await bench.leftovers()).toEqual(['text']);
      });

      test("a vsock socket that is somebody else's: API_REFUSED, and it stays", async () => {
        await using bench = await openBench();
        const udsPath = bench.scratch.file('theirs.sock');
        await writeFile(udsPath, '');
        const vm = bench.vm({ vsock: { guestCid: 3, udsPath } });
        await expect(vm.start()).rejects.toMatchObject({ code: 'API_REFUSED' });
        expect(await bench.leftovers()).toEqual(['theirs.sock']);
      });

      test('an API socket that is there: VM_EXISTS, and it stays', async () => {
        await using bench = await openBench();
        const vm = bench.vm();
        await writeFile(vm.socketPath, '');
        await expect(vm.start()).rejects.toMatchObject({ code: 'VM_EXISTS' });
        expect(existsSync(vm.socketPath)).toBe(true);
        expect(await bench.processes()).toEqual([]);
      });

      test('its signal, with the VMM on its way: CANCELED', async () => {
        await using bench = await openBench();
        const controller = new AbortController();
        const vm = bench.vm({}, async () => {
          controller.abort();
          return undefined;
        });
        await expect(vm.start({ signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELED' });
        expect(vm.state).toBe('failed');
        expect(await bench.leftovers()).toEqual([]);
      });

      test('stop() in its middle: CANCELED, and the stop says that nothing ran', async () => {
        await using bench = await openBench();
        let stopping: Promise<unknown> = Promise.resolve();
        const vm = bench.vm({}, async () => {
          stopping = vm.stop();
          return undefined;
        });
        await expect(vm.start()).rejects.toMatchObject({ code: 'CANCELED' });
        expect(await stopping).toEqual({ rung: 'none' });
        expect(vm.state).toBe('stopped');
        expect(await bench.leftovers()).toEqual([]);
      });

      test('files that cannot be made: START_FAILED with the reason', async () => {
        await using bench = await openBench();
        const vm = bench.vm({}, async () => {
          throw new Error('no space left');
        });
        const error = await vm.start().catch((reason: unknown) => reason as SmartVMError);
        expect(error).toMatchObject({ code: 'START_FAILED', message: expect.stringContaining('no space left') });
        expect(await bench.leftovers()).toEqual([]);
      });

      test('a VMM that is killed in its middle: VMM_EXITED', async () => {
        await using bench = await openBench();
        const vm = bench.vm({}, async (runtimeDir) => {
          await until(() => existsSync(join(runtimeDir, 'keeper.sock')), 30_000, 'the keeper');
          process.kill(await bench.vmmPid(), 'SIGKILL');
          return undefined;
        });
        await expect(vm.start()).rejects.toMatchObject({ code: 'VMM_EXITED' });
        await until(async () => (await bench.leftovers()).length === 0, 30_000, 'the end of what the VMM had started');
      });
    });

    test('the signal of a start has no say once the VM runs', async () => {
      await using bench = await openBench();
      const controller = new AbortController();
      const vm = bench.vm();
      await vm.start({ signal: controller.signal });
      controller.abort();
      await vm.writeConsole('p');
      await bench.says(vm, 'PONG');
      expect(vm.state).toBe('running');
    });

    test('ten in a row leave nothing behind', async () => {
      await using bench = await openBench();
      const descriptors = async () => (await readdir('/proc/self/fd')).length;
      const boot = async () => {
        await using vm = bench.vm();
        await vm.start();
      };
      await boot();
      const before = await descriptors();
      for (let round = 0; round < 10; round++) {
        await boot();
      }
      expect(await bench.leftovers()).toEqual([]);
      await until(async () => (await descriptors()) <= before, 30_000, 'the end of the descriptors');
    });
  });
});
