import { kill } from 'node:process';
import { describe, expect, it } from 'vitest';
import * as ready from '../../ts/guest/ready/waits.js';
import type { VmExit } from '../../ts/vm/exit.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { stopwatch } from '../support/stopwatch.js';
import { rejectionOf, toyBenchForAll, VMMS, type VmmAtHand } from '../support/toy-vm.js';

const exitOf = (vm: MicroVM) => new Promise<VmExit>((resolve) => vm.once('exit', resolve));

/** The first rung that ends a VMM whose guest hears nothing. A jailed Firecracker, the first process of its namespace, hears no SIGTERM. */
const termination = ({ name, jail }: VmmAtHand) => (name === 'Firecracker' && jail ? 'SIGKILL' : 'SIGTERM');

describe.skipIf(process.arch !== 'x64').each(VMMS)('a VM on $name', (vmm) => {
  const bench = toyBenchForAll(vmm);

  it('lives through every state and leaves nothing', async () => {
    const states: string[] = [];
    const toy = await bench().create();
    toy.vm.on('state', (state) => states.push(state));
    await toy.vm.start();
    await toy.says('TOY GUEST UP');
    await toy.pong();
    await toy.vm.pause();
    expect((await toy.vm.getInfo()).state).toBe('Paused');
    await toy.vm.resume();
    await toy.pong();
    expect((await toy.vm.stop({ graceMs: 500 })).rung).toBe(termination(vmm)); // the toy has no keyboard
    expect(states).toEqual(['starting', 'running', 'pausing', 'paused', 'resuming', 'running', 'stopping', 'stopped']);
    expect(await bench().leftovers()).toEqual([]);
  });

  it('says at once that its guest cannot be asked for anything without an agent', async () => {
    const { vm } = await bench().boot();
    await expect(vm.exec(['true'])).rejects.toMatchObject({ code: 'AGENT_MISSING' });
    await expect(vm.waitUntil(ready.all([ready.port(80)]))).rejects.toMatchObject({ code: 'AGENT_MISSING' });
    await vm.cleanup();
  });

  it('ends with its guest, which reset itself', async () => {
    const toy = await bench().boot();
    const exit = exitOf(toy.vm);
    await toy.vm.writeConsole('q');
    expect(await exit).toMatchObject({ reason: 'guest-shutdown', orderly: true, exitCode: 0, signal: null });
    expect(toy.vm.state).toBe('stopped');
    expect(await bench().leftovers()).toEqual([]);
  });

  it('takes concurrent calls one after the other, and judges each by the state it finds', async () => {
    const { vm } = await bench().boot();
    const results = await Promise.allSettled([vm.pause(), vm.pause(), vm.resume(), vm.getVersion(), vm.pause()]);
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
      'fulfilled',
    ]);
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({ code: 'INVALID_STATE' });
    expect(vm.state).toBe('paused');
    await vm.cleanup();
  });

  it('refuses what waits behind a stop', async () => {
    const { vm } = await bench().boot();
    const pause = vm.pause();
    const stop = vm.stop({ graceMs: 500 });
    const late = rejectionOf(vm.getVersion());
    await pause;
    expect(await late).toMatchObject({ code: 'INVALID_STATE' });
    expect((await stop).rung).toBe(termination(vmm));
  });

  it('ends a start that is stopped at whatever moment', async () => {
    for (const ms of [0, 5, 20, 60, 150]) {
      const { vm } = await bench().create();
      const start = vm.start();
      start.catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, ms));
      await vm.stop({ force: true });
      expect(['stopped', 'failed']).toContain(vm.state);
      await start.catch((error) => expect(error).toMatchObject({ code: 'CANCELED' }));
      expect(await bench().leftovers()).toEqual([]);
    }
  });

  it('refuses calls out of its states', async () => {
    const { vm } = await bench().create();
    expect(await rejectionOf(vm.pause())).toMatchObject({ code: 'INVALID_STATE' });
    expect(await rejectionOf(vm.getBalloon())).toMatchObject({ code: 'INVALID_STATE' });
    expect(await rejectionOf(vm.getInfo())).toMatchObject({ code: 'NO_CLIENT' });
    await vm.start();
    expect(await rejectionOf(vm.resume())).toMatchObject({ code: 'INVALID_STATE' });
    expect(await rejectionOf(vm.start())).toMatchObject({ code: 'INVALID_STATE' });
    await vm.cleanup();
    expect(await rejectionOf(vm.pause())).toMatchObject({ code: 'INVALID_STATE' });
  });

  it("passes the VMM's refusal on in its own words, with the call", async () => {
    const { vm } = await bench().create({ drives: [{ driveId: 'd', pathOnHost: '/nowhere' }] });
    expect(await rejectionOf(vm.start())).toMatchObject({
      code: 'API_REFUSED',
      status: 400,
      method: 'PUT',
      path: '/drives/d',
      faultMessage: expect.stringContaining('No such file or directory'),
    });
    expect(vm.state).toBe('failed');
    expect(await bench().leftovers()).toEqual([]);
  });

  it('rejects a call with the exit of a VMM that is killed in its middle', async () => {
    const { vm } = await bench().boot();
    const exit = exitOf(vm);
    const calls = Promise.allSettled(Array.from({ length: 20 }, () => vm.getMachineConfig()));
    const tookMs = stopwatch();
    kill(vm.pid, 'SIGKILL');
    const reasons = (await calls).flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    expect(tookMs()).toBeLessThan(1_000);
    expect(reasons.length).toBeGreaterThan(0);
    expect(reasons[0]).toMatchObject({ code: 'VMM_EXITED' });
    expect(await exit).toMatchObject({ reason: 'vmm-killed', signal: 'SIGKILL' });
    expect(vm.state).toBe('failed');
    expect(await bench().leftovers()).toEqual([]);
  });
});
