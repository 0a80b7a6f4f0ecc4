import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from 'vitest';
import type { ApiCallMessage } from '../../ts/firecracker/api-channel.js';
import type { StepMessage } from '../../ts/util/traced.js';
import { BOOT } from '../../ts/vm/boot.js';
import type { StateMessage } from '../../ts/vm/channels.js';
import { Listening } from '../support/heard.js';
import { rejectionOf, toyBenchForAll, VMMS } from '../support/toy-vm.js';
import { UncaughtExceptions } from '../support/uncaught.js';

const changesOf = (listening: Listening<StateMessage>) =>
  listening.of(undefined).map(({ from, to, reason }) => `${from} > ${to}: ${reason}`);
const stepsOf = (messages: readonly StepMessage[]) => messages.map(({ step }) => step);

describe.skipIf(process.arch !== 'x64').each(VMMS)('what is published of VMs of $name', (vmm) => {
  const bench = toyBenchForAll(vmm);

  test('each step, call and change of state of a life', async () => {
    using steps = new Listening<StepMessage>('smartvm:boot:step');
    using undos = new Listening<StepMessage>('smartvm:cleanup:step');
    using calls = new Listening<ApiCallMessage>('smartvm:api:call');
    using states = new Listening<StateMessage>('smartvm:vm:state');
    const { vm } = await bench().boot();
    await vm.pause();
    await vm.resume();
    await vm.createSnapshot({ snapshotPath: bench().scratch.file('s'), memFilePath: bench().scratch.file('m') });
    await vm.stop({ force: true });

    const names = BOOT.flat().map(({ name }) => name);
    expect(stepsOf(steps.of('start'))).toEqual(names);
    expect(stepsOf(steps.of('asyncEnd')).toSorted()).toEqual(names.toSorted());
    const timings = steps.of('asyncEnd').map(({ step, startMs }) => ({ step, startMs }));
    expect(timings).toEqual(vm.timings.map(({ step, startMs }) => ({ step, startMs })));
    expect(stepsOf(undos.of('asyncEnd'))).toEqual(expect.arrayContaining(['vmm', 'runtime directory', 'capacity']));
    const ids = [...steps.heard, ...undos.heard].map(({ message }) => message.id);
    expect([...new Set(ids)]).toEqual([vm.id]);
    expect(calls.of('asyncEnd')).toContainEqual({
      ...{ method: 'PUT', path: '/boot-source', socketPath: vm.socketPath },
      ...{ status: 204, durationMs: expect.any(Number) },
    });
    expect(changesOf(states)).toEqual([
      'created > starting: start',
      'starting > running: start',
      'running > pausing: pause',
      'pausing > paused: pause',
      'paused > resuming: resume',
      'resuming > running: resume',
      'running > pausing: snapshot',
      'pausing > paused: snapshot',
      'paused > resuming: snapshot',
      'resuming > running: snapshot',
      'running > stopping: stop',
      'stopping > stopped: stopped',
    ]);
  });

  test('what fails, with its error', async () => {
    using steps = new Listening<StepMessage>('smartvm:boot:step');
    using undos = new Listening<StepMessage>('smartvm:cleanup:step');
    using states = new Listening<StateMessage>('smartvm:vm:state');
    const { vm } = await bench().create({ bootSource: { kernelImagePath: '/dev/null' } });
    const error = (await rejectionOf(vm.start())) as Error & { code: string };
    expect(steps.of('error')).toMatchObject([{ id: vm.id, step: expect.any(String), error: { code: error.code } }]);
    expect(stepsOf(undos.of('asyncEnd'))).toContain('runtime directory');
    expect(changesOf(states).at(-1)).toBe(`starting > failed: ${error.code}`);
  });

  test('a VM that is killed says so', async () => {
    const { vm } = await bench().boot();
    using states = new Listening<StateMessage>('smartvm:vm:state');
    const ended = new Promise((resolve) => vm.once('exit', resolve));
    process.kill(vm.pid, 'SIGKILL');
    await ended;
    expect(changesOf(states)).toEqual(['running > failed: vmm-killed']);
  });

  test('subscribers that throw change nothing, and their errors are uncaught exceptions', async () => {
    using uncaught = new UncaughtExceptions();
    const names = ['smartvm:vm:state', 'tracing:smartvm:boot:step:start', 'tracing:smartvm:api:call:asyncEnd'];
    const thrower = (_message: unknown, name: string | symbol) => {
      throw new Error(String(name));
    };
    for (const name of names) {
      subscribe(name, thrower);
    }
    try {
      const { vm } = await bench().boot();
      expect(await vm.stop({ force: true })).toEqual({ rung: 'SIGKILL' });
      await new Promise(setImmediate);
    } finally {
      for (const name of names) {
        unsubscribe(name, thrower);
      }
    }
    const messages = uncaught.errors.map((error) => (error as Error).message);
    expect(new Set(messages)).toEqual(new Set(names));
  });

  test('listeners that throw change nothing either, whatever they are told', async () => {
    using uncaught = new UncaughtExceptions();
    const { vm } = await bench().create();
    const thrown: string[] = [];
    const thrower = (what: string) => {
      thrown.push(what);
      throw new Error(what);
    };
    vm.on('state', (state) => thrower(state)).on('exit', ({ reason }) => thrower(`exit: ${reason}`));
    await vm.start();
    await vm.pause();
    await vm.resume();
    expect(vm.state).toBe('running');
    expect(await vm.stop({ force: true })).toEqual({ rung: 'SIGKILL' });
    await new Promise(setImmediate);
    expect(thrown).toEqual([
      'starting',
      'running',
      'pausing',
      'paused',
      'resuming',
      'running',
      'stopping',
      'stopped',
      'exit: stopped',
    ]);
    expect(uncaught.errors.map((error) => (error as Error).message)).toEqual(thrown);
    expect(bench().smartvm.listVMs()).not.toContain(vm.id);
  });
});
