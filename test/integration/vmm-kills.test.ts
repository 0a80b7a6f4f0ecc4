import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { isSmartVMError, SmartVMError } from '../../ts/errors.js';
import { SocketClient } from '../../ts/firecracker/socket-client.js';
import { SmartVM } from '../../ts/smartvm.js';
import { delay } from '../../ts/util/deadline.js';
import { isAlive, type ProcessIdentity, processIdentity } from '../../ts/util/process-identity.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { seeded, tapsOf } from '../support/kills.js';
import { until } from '../support/leftovers.js';
import { ManagerBench } from '../support/manager.js';
import { stopwatch } from '../support/stopwatch.js';
import { VMMS } from '../support/toy-vm.js';
import { victimOf } from '../support/victims.js';

/** Ends what may just have ended by itself. */
function kill(pid: number | undefined): void {
  try {
    process.kill(pid ?? Number.NaN, 'SIGKILL');
  } catch {
    // There is none, or not any more.
  }
}

/** How many random moments: a VM of Firecracker's takes a tenth of the time of one of QEMU's. */
const MOMENTS = { Firecracker: 200, 'smartvm-qemu': 15 } as Record<string, number>;

describe.skipIf(process.arch !== 'x64').each(VMMS)('a VM on $name', (vmm) => {
  let bench: ManagerBench;
  let smartvm: SmartVM;
  const { taps, networkInterfaces } = tapsOf(vmm);

  beforeAll(async () => {
    bench = await ManagerBench.open(vmm);
    smartvm = new SmartVM(bench.options);
  });

  afterEach(() => {
    vi.restoreAllMocks();
  });

  afterAll(async () => {
    await smartvm.cleanup();
    await bench[Symbol.asyncDispose]();
  });

  const create = () => smartvm.createVM(bench.config(bench.id(), { networkInterfaces }));

  /** A life that asks the API for something of every kind. */
  async function live(vm: MicroVM): Promise<void> {
    await vm.start();
    await vm.getVersion();
    await vm.pause();
    await vm.createSnapshot({ snapshotPath: bench.scratch.file('state'), memFilePath: bench.scratch.file('memory') });
    await vm.resume();
    await vm.getMachineConfig();
  }

  /** How long it takes, in milliseconds. */
  async function wholeLife(): Promise<number> {
    const begin = performance.now();
    const vm = await create();
    await live(vm);
    await vm.cleanup();
    return performance.now() - begin;
  }

  async function expectNothingLeft(): Promise<void> {
    expect(smartvm.vmCount).toBe(0);
    // What the kernel takes apart goes some moments after what it belonged to.
    await until(async () => (await bench.leftovers(taps)).length === 0, 30_000, 'the end of what the VMM had').catch(
      async () => expect(await bench.leftovers(taps)).toEqual([]),
    );
  }

  /** The VMM that is there. While its launcher becomes its keeper, the kernel's list of the children of that may be empty. */
  async function vmmOf(): Promise<ProcessIdentity> {
    let vmm: ProcessIdentity | undefined;
    const isFound = async () => {
      vmm = await processIdentity((await victimOf('vmm')) ?? Number.NaN);
      return vmm !== undefined;
    };
    await until(isFound, 30_000, 'a VMM to kill');
    return vmm as ProcessIdentity; // as it was found
  }

  /** Runs something before a call of a VMM's API; the readiness of one, which is asked for again and again, is none. */
  function beforeCall(number: number, act: () => Promise<void>): { calls: () => number } {
    const { request } = SocketClient.prototype;
    let calls = 0;
    vi.spyOn(SocketClient.prototype, 'request').mockImplementation(async function (this: SocketClient, ...args) {
      if (this.socketPath.endsWith('api.sock') && args[1] !== '/' && calls++ === number) {
        await act();
      }
      return await request.apply(this, args);
    });
    return { calls: () => calls };
  }

  test.each([
    ['at the moment of', false],
    ['some time before', true],
  ])('whose VMM is killed %s any call of its API says so within a second, and leaves nothing', async (_when, waits) => {
    for (let number = 0; ; number++) {
      let tookMs: (() => number) | undefined;
      const { calls } = beforeCall(number, async () => {
        const victim = await vmmOf();
        process.kill(victim.pid, 'SIGKILL');
        tookMs = stopwatch();
        if (waits) {
          await until(async () => !(await isAlive(victim)), 30_000, 'the end of the VMM');
        }
      });
      const vm = await create();
      const outcome = await live(vm).catch((error: unknown) => error);
      const ms = tookMs?.();
      vi.restoreAllMocks();
      if (ms === undefined) {
        expect([outcome, number]).toEqual([undefined, calls()]);
        expect(number).toBeGreaterThan(6);
        await vm.cleanup();
        await expectNothingLeft();
        return;
      }
      expect([number, outcome]).toEqual([number, expect.any(SmartVMError)]);
      expect([number, outcome]).toMatchObject([number, { code: 'VMM_EXITED' }]);
      expect(ms).toBeLessThan(1_000);
      await vm.stop();
      expect(vm.state).toBe('failed');
      await expectNothingLeft();
    }
  });

  test.each(['vmm', 'keeper'] as const)(
    'whose %s is killed at any moment ends with a typed error within a second, and leaves nothing',
    async (which) => {
      const random = seeded(which === 'vmm' ? 20_260_102 : 20_260_103);
      await wholeLife(); // the first one of a program takes longer
      const span = await wholeLife();
      const errorMs: number[] = [];
      for (let round = 0; round < (MOMENTS[vmm.name] ?? 0); round++) {
        const ms = random() * span;
        const vm = await create();
        const life = live(vm)
          .then(() => vm.cleanup())
          .catch((error: unknown) => error);
        await delay(ms);
        const victim = await victimOf(which);
        const tookMs = stopwatch();
        kill(victim);
        const outcome = await life;
        if (outcome !== undefined) {
          errorMs.push(tookMs());
        }
        expect(outcome === undefined || isSmartVMError(outcome), `kill ${round}, at ${ms} ms: ${outcome}`).toBe(true);
        await vm.cleanup();
        await expectNothingLeft();
      }
      // But for some, for which what else the machine does may be the cause.
      errorMs.sort((a, b) => a - b);
      expect(errorMs[Math.floor(errorMs.length * 0.95)]).toBeLessThan(1_000);
    },
    1_800_000,
  );
});
