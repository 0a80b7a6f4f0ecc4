import { chmod, writeFile } from 'node:fs/promises';
import { describe, expect, it, vi } from 'vitest';
import type { Guest } from '../../ts/guest/types.js';
import type { VmExit } from '../../ts/vm/exit.js';
import { until } from '../support/leftovers.js';
import { rejectionOf, ToyBench, toyBenchForAll, VMMS } from '../support/toy-vm.js';

/** Connections to an agent as the toy guest has none: they answer nothing, and end when they are told to. */
class Connections {
  readonly #ends: (() => void)[] = [];
  /** Whether another can be had. */
  answers = true;

  get count(): number {
    return this.#ends.length;
  }

  readonly dial = async (): Promise<Guest> => {
    if (!this.answers) {
      throw new Error('nobody answers');
    }
    const closed = new Promise<void>((resolve) => this.#ends.push(resolve));
    const refuse = () => Promise.reject(new Error('the toy guest runs no commands'));
    const asked = {
      open: refuse,
      files: refuse,
      spawn: refuse,
      connect: refuse,
      spawnDetached: refuse,
      control: refuse,
    };
    const reached = { openTerminal: refuse, dial: refuse, listen: refuse };
    return {
      closed,
      ...asked,
      ...reached,
      network: refuse,
      renumber: refuse,
      shutdown: refuse,
      close: () => undefined,
    };
  };

  break(): void {
    this.#ends.at(-1)?.();
  }
}

describe.skipIf(process.arch !== 'x64').each(VMMS)('the guest of a VM on $name', (vmm) => {
  const bench = toyBenchForAll(vmm);

  it('is dialled again when its connection breaks', async () => {
    const guest = new Connections();
    const toy = await bench().boot({}, { prepare: async () => guest.dial, guestGoneAfterMs: 60_000 });
    guest.break();
    await until(() => guest.count === 2, 30_000, 'another connection');
    await toy.pong();
    expect(toy.vm.state).toBe('running');
    await toy.vm.cleanup();
  });

  it('that never answers is told of with the last words of its console, and nothing is left', async () => {
    await using silent = await ToyBench.open(vmm);
    const { vm } = await silent.create({}, { prepare: async () => () => Promise.reject(new Error('nobody answers')) });
    expect(await rejectionOf(vm.start({ timeoutMs: 8_000 }))).toMatchObject({
      code: 'BOOT_TIMEOUT',
      message: expect.stringMatching(/did not answer in time \(nobody answers\).*console:.*TOY GUEST UP/s),
      details: { consoleTail: ['TOY GUEST UP'] },
    });
    expect(await silent.leftovers()).toEqual([]);
  });

  it('is let go of when it answers only once nobody wants it any more', async () => {
    const guest = new Connections();
    const late: ((guest: Guest) => void)[] = [];
    const dial = async () =>
      guest.count === 0 ? await guest.dial() : await new Promise<Guest>((resolve) => late.push(resolve));
    const toy = await bench().boot({}, { prepare: async () => dial, guestGoneAfterMs: 60_000 });
    guest.break();
    await until(() => late.length === 1, 5_000, 'another connection');
    await toy.vm.cleanup();
    const close = vi.fn();
    late[0]?.({ ...(await guest.dial()), close });
    await until(() => close.mock.calls.length === 1, 5_000, 'its end');
  });

  it('that hangs up for good has shut down, which ends its VM', async () => {
    const guest = new Connections();
    const toy = await bench().boot({}, { prepare: async () => guest.dial, guestGoneAfterMs: 300 });
    const exit = new Promise<VmExit>((resolve) => toy.vm.once('exit', resolve));
    guest.answers = false;
    guest.break();
    expect(await exit).toMatchObject({ reason: 'guest-shutdown', orderly: true, error: undefined });
    expect(toy.vm.state).toBe('stopped');
  });

  it('that is paused is not taken for one that has hung up', async () => {
    const guest = new Connections();
    const toy = await bench().boot({}, { prepare: async () => guest.dial, guestGoneAfterMs: 100 });
    await toy.vm.pause();
    guest.answers = false;
    guest.break();
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(toy.vm.state).toBe('paused');
    guest.answers = true;
    await toy.vm.resume();
    await until(() => guest.count === 2, 30_000, 'another connection');
    await toy.vm.cleanup();
  });

  it('does not start where the VMM is older than a flag', async () => {
    const older = bench().scratch.file('older-vmm');
    await writeFile(
      older,
      `#!/bin/sh\n[ "$1" = --version ] && exec echo 'Firecracker v1.12.1'\nexec '${vmm.path}' "$@"\n`,
    );
    await chmod(older, 0o755);
    await using olderBench = await ToyBench.open({ name: 'older', path: older, jail: false });
    const { vm } = await olderBench.create({}, { vmmFlags: { enablePci: true } });
    expect(await rejectionOf(vm.start())).toMatchObject({
      code: 'VMM_TOO_OLD',
      details: { vmmVersion: '1.12.1', neededVersion: '1.13', fields: ['vmmFlags.enablePci'] },
    });
    expect(await olderBench.leftovers()).toEqual([]);
    const { vm: plain } = await olderBench.boot({}, { vmmFlags: { mmdsSizeLimitBytes: 1000, bootTimer: true } });
    await plain.cleanup();
  });
});
