import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { kill } from 'node:process';
import { describe, expect, it } from 'vitest';
import { run } from '../../ts/util/run.js';
import * as jailed from '../support/jailed.js';
import { rejectionOf, type ToyVm } from '../support/toy-vm.js';

describe.skipIf(!jailed.CAN_JAIL).each(jailed.JAILED_VMMS)(`a jailed VM of $name${jailed.LEFT_OUT}`, (vmm) => {
  const bench = jailed.jailBenchForEach(vmm);

  const keeperOf = async ({ vm }: ToyVm) => Number((await jailed.fieldsOf(vm.pid)).PPid);

  it('has something on the host that could be left', async () => {
    const { vm } = await bench().boot();
    const remains = await jailed.remainsOf(bench());
    const uid = String(await jailed.uidOf(vm));
    expect(remains).toEqual(expect.arrayContaining([`process ${vm.pid}`, `${vm.id}.${uid}`, uid, vm.id]));
    await vm.cleanup();
  });

  it.each<[string, (toy: ToyVm) => unknown, string]>([
    ['is stopped', ({ vm }) => vm.stop({ graceMs: 200 }), 'stopped'],
    ['is killed', ({ vm }) => kill(vm.pid, 'SIGKILL'), 'vmm-killed'],
    ['loses its keeper', async (toy) => kill(await keeperOf(toy), 'SIGKILL'), 'vmm-killed'],
    ['has a guest that resets itself', ({ vm }) => vm.writeConsole('q'), 'guest-shutdown'],
  ])('that %s leaves nothing', async (_what, end, reason) => {
    const toy = await bench().boot();
    const exit = once(toy.vm, 'exit');
    await end(toy);
    expect(await exit).toEqual([expect.objectContaining({ reason })]);
    expect(await jailed.remainsOf(bench())).toEqual([]);
  });

  it('that is canceled at any moment of its start leaves nothing', async () => {
    for (const ms of [0, 5, 15, 30, 60, 120]) {
      const { vm } = await bench().create();
      const start = vm.start({ signal: AbortSignal.timeout(ms) });
      await start.catch((error) => expect(error).toMatchObject({ code: 'CANCELED' }));
      await vm.cleanup();
      expect(await jailed.remainsOf(bench())).toEqual([]);
    }
  });

  it('can have an id of 64 characters', async () => {
    const toy = await bench().boot({ id: 'x'.repeat(64) });
    await toy.pong();
    await toy.vm.cleanup();
  });

  it('runs below a directory from which nothing can be executed', async () => {
    const directory = bench().scratch.file('noexec');
    await mkdir(directory);
    await run('mount', ['-t', 'tmpfs', '-o', 'nosuid,nodev,noexec,mode=0700', 'tmpfs', directory]);
    try {
      const { SmartVM } = await import('../../ts/smartvm.js');
      const jail = { uidRange: jailed.TEST_UIDS };
      await using smartvm = new SmartVM({ runtimeDir: directory, firecrackerBinaryPath: vmm.path, jail });
      const bootSource = { kernelImagePath: bench().kernelImagePath };
      const vm = await smartvm.createVM({ bootSource, machineConfig: { memSizeMib: 32 } });
      let console = '';
      vm.on('console', (chunk) => {
        console += chunk;
      });
      await vm.start();
      await expect.poll(() => console).toContain('TOY GUEST UP');
      await vm.cleanup();
      expect(await readdir(directory)).toEqual([]);
    } finally {
      await run('umount', [directory]);
    }
  });

  it('goes on from a snapshot, with the drives that it is told of', async () => {
    const image = bench().scratch.file('image');
    await writeFile(image, Buffer.alloc(4096), { mode: 0o600 });
    const first = await bench().boot({
      drives: [{ driveId: 'data', pathOnHost: image, isRootDevice: false, isReadOnly: false }],
    });
    const files = { snapshotPath: bench().scratch.file('state'), memFilePath: bench().scratch.file('memory') };
    await first.vm.createSnapshot(files);
    await first.vm.cleanup();
    const memBackend = { backendType: 'File' as const, backendPath: files.memFilePath };
    const restore = { snapshotPath: files.snapshotPath, memBackend };
    const before = await Promise.all(Object.values(files).map(jailed.sealOf));
    expect(await rejectionOf(bench().restore(restore))).toMatchObject({
      code: 'API_REFUSED',
      faultMessage: expect.stringMatching(/No such file/),
    });
    expect(await jailed.remainsOf(bench())).toEqual([]);
    const toy = await bench().restore({ ...restore, devicePaths: [{ path: image, access: 'write' }] });
    await toy.pong();
    await toy.vm.cleanup();
    expect(await Promise.all(Object.values(files).map(jailed.sealOf))).toEqual(before);
  });

  it('is lent a TAP device, which is in its network namespace’s stead', async () => {
    const name = `svj${process.pid}`;
    const owner = async () => (await readFile(`/sys/class/net/${name}/owner`, 'utf8')).trim();
    await run('ip', ['tuntap', 'add', 'dev', name, 'mode', 'tap', 'user', '4321', 'vnet_hdr']);
    try {
      const { vm } = await bench().boot({ networkInterfaces: [{ ifaceId: 'eth0', hostDevName: name }] });
      expect(await owner()).toBe(String(await jailed.uidOf(vm)));
      await vm.cleanup();
      expect(await owner()).toBe('4321');
    } finally {
      await run('ip', ['link', 'delete', 'dev', name]);
    }
  });

  it('takes a TAP device with it that was made for it', async () => {
    const name = `svk${process.pid}`;
    const { vm } = await bench().boot({ networkInterfaces: [{ ifaceId: 'eth0', hostDevName: name }] });
    expect(await readdir('/sys/class/net')).toContain(name);
    await vm.cleanup();
    expect(await readdir('/sys/class/net')).not.toContain(name);
  });
});
