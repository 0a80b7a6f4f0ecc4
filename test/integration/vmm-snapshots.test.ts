import { access, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { rejectionOf, type ToyVm, toyBenchForAll, VMMS } from '../support/toy-vm.js';

describe.skipIf(process.arch !== 'x64').each(VMMS)('snapshots on $name', (vmm) => {
  const bench = toyBenchForAll(vmm);
  let count = 0;

  const paths = () => {
    count += 1;
    return {
      snapshotPath: bench().scratch.file(`state-${count}`),
      memFilePath: bench().scratch.file(`memory-${count}`),
    };
  };
  const restoreOf = ({ snapshotPath, memFilePath }: ReturnType<typeof paths>) => ({
    snapshotPath,
    memBackend: { backendType: 'File' as const, backendPath: memFilePath },
  });
  /** A snapshot of a guest that has greeted, whose VM is gone. */
  const snapshot = async () => {
    const files = paths();
    const { vm } = await bench().boot();
    await vm.createSnapshot(files);
    await vm.cleanup();
    return files;
  };

  it('of a running VM pauses it meanwhile', async () => {
    const toy = await bench().boot();
    const states: string[] = [];
    toy.vm.on('state', (state) => states.push(state));
    await toy.vm.createSnapshot(paths());
    expect(states).toEqual(['pausing', 'paused', 'resuming', 'running']);
    await toy.pong();
    await toy.vm.createSnapshot({ ...paths(), resume: false });
    expect(toy.vm.state).toBe('paused');
    await toy.vm.createSnapshot(paths());
    expect(toy.vm.state).toBe('paused'); // it was so before
    await toy.vm.resume();
    await toy.pong();
    await toy.vm.cleanup();
  });

  it('that fails lets the VM run on, and says why', async () => {
    const toy = await bench().boot();
    const nowhere = { snapshotPath: '/nowhere/state', memFilePath: '/nowhere/memory' };
    expect(await rejectionOf(toy.vm.createSnapshot(nowhere))).toMatchObject({
      code: 'API_REFUSED',
      path: '/snapshot/create',
      faultMessage: expect.stringContaining('No such file'),
    });
    await toy.pong();
    expect(toy.vm.state).toBe('running');
    await toy.vm.cleanup();
  });

  it('start a VM that goes on where the other was', async () => {
    const toy = await bench().restore(restoreOf(await snapshot()));
    expect(toy.vm.state).toBe('running');
    expect(toy.vm.timings.map(({ step }) => step)).toContain('load-snapshot');
    await toy.pong();
    expect(toy.console).not.toContain('TOY GUEST UP');
    expect(await toy.vm.getMachineConfig()).toMatchObject({ memSizeMib: 32 });
    await toy.vm.cleanup();
  });

  it('start a VM that waits to be resumed', async () => {
    const toy = await bench().restore({ ...restoreOf(await snapshot()), resume: false });
    expect(toy.vm.state).toBe('paused');
    expect((await toy.vm.getInfo()).state).toBe('Paused');
    await toy.vm.resume();
    await toy.pong();
    await toy.vm.cleanup();
  });

  it('start several VMs from one memory file, which stays as it is', async () => {
    const files = await snapshot();
    const before = await readFile(files.memFilePath);
    const clones = await Promise.all([1, 2, 3].map(() => bench().restore(restoreOf(files))));
    await Promise.all(clones.map((clone: ToyVm) => clone.pong()));
    await Promise.all(clones.map((clone: ToyVm) => clone.vm.cleanup()));
    expect((await readFile(files.memFilePath)).equals(before)).toBe(true);
  });

  it('give a restored VM its own metrics and log', async () => {
    const toy = await bench().restore(restoreOf(await snapshot()), { metrics: {}, logger: {} });
    await toy.vm.flushMetrics();
    for await (const sample of toy.vm.metrics()) {
      expect(sample).toHaveProperty('groups');
      break;
    }
    await toy.vm.cleanup();
  });

  it('that are damaged end the start, stay where they are, and hinder nobody', async () => {
    const files = await snapshot();
    const sound = await readFile(files.snapshotPath);
    await writeFile(files.snapshotPath, Buffer.from(sound).fill(0, 0, 16));
    const error = await rejectionOf(bench().restore(restoreOf(files)));
    expect(error).toMatchObject({ code: 'API_REFUSED', path: '/snapshot/load', faultMessage: expect.any(String) });
    expect(await bench().leftovers()).toEqual([]);
    await access(files.memFilePath);
    await writeFile(files.snapshotPath, sound);
    const toy = await bench().restore(restoreOf(files));
    await toy.pong();
    await toy.vm.cleanup();
  });

  it('are refused before anything runs where the options are wrong', async () => {
    const files = paths();
    const twice = [
      { ifaceId: 'eth0', hostDevName: 'tap0' },
      { ifaceId: 'eth0', hostDevName: 'tap1' },
    ];
    expect(await rejectionOf(bench().restore({ ...restoreOf(files), networkOverrides: twice }))).toMatchObject({
      code: 'INVALID_OPTION',
      details: {
        errors: [
          'restore.networkOverrides[1].ifaceId must be unique, is the same as restore.networkOverrides[0].ifaceId',
        ],
      },
    });
    expect(await rejectionOf(bench().restore({ ...restoreOf(files), hugePages: '2M' }))).toMatchObject({
      code: 'INVALID_OPTION',
    });
  });
});
