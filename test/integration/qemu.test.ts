import { access, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { processesNaming, until } from '../support/leftovers.js';
import { QemuVmm } from './qemu-vmm.js';

const fault = (message: string | RegExp) => ({
  status: 400,
  body: { fault_message: typeof message === 'string' ? message : expect.stringMatching(message) },
});

const state = async (vmm: QemuVmm) => (await vmm.call('GET', '/')).body;

/** The QEMU processes of a VM: their command line names its kernel. */
const qemuProcesses = (vmm: QemuVmm) => processesNaming(vmm.scratch.file('toy'));

describe.skipIf(process.arch !== 'x64')('smartvm-qemu with the toy guest', () => {
  it('boots, carries the serial port both ways, pauses and resumes, and exits 0 when the guest resets', async () => {
    await using vmm = await QemuVmm.ready(['--id', 'toy-1']);
    await vmm.bootToyGuest();
    expect(await state(vmm)).toMatchObject({ id: 'toy-1', state: 'Running' });

    vmm.type('p');
    await vmm.says('PONG\n');

    expect((await vmm.call('PATCH', '/vm', { state: 'Paused' })).status).toBe(204);
    expect(await state(vmm)).toMatchObject({ state: 'Paused' });
    const before = vmm.console;
    vmm.type('p');
    expect((await vmm.call('GET', '/vm/config')).status).toBe(200);
    expect(vmm.console).toBe(before);
    expect((await vmm.call('PATCH', '/vm', { state: 'Resumed' })).status).toBe(204);
    await vmm.says('PONG\nPONG\n');

    vmm.type('q');
    expect(await vmm.exit()).toBe(0);
    expect(await qemuProcesses(vmm)).toEqual([]);
  });

  it.each(['SIGKILL', 'SIGTERM'] as const)('leaves no QEMU behind when it is ended by %s', async (signal) => {
    await using vmm = await QemuVmm.ready();
    await vmm.bootToyGuest();
    expect(await qemuProcesses(vmm)).toHaveLength(1);
    vmm.process.kill(signal);
    expect(await vmm.exit()).toBe(signal);
    await until(async () => (await qemuProcesses(vmm)).length === 0, 30_000, 'the end of QEMU');
  });

  it('exits 1 and says so when QEMU is killed', async () => {
    await using vmm = await QemuVmm.ready();
    await vmm.bootToyGuest();
    const [qemu] = await qemuProcesses(vmm);
    process.kill(Number.parseInt(qemu ?? '', 10), 'SIGKILL');
    expect(await vmm.exit()).toBe(1);
    expect(vmm.errors).toContain('QEMU was ended by SIGKILL');
  });

  it('answers a refused start with the reason and can be started after it is mended', async () => {
    await using vmm = await QemuVmm.ready();
    await vmm.call('PUT', '/boot-source', { kernel_image_path: vmm.scratch.file('toy') });
    await vmm.call('PUT', '/machine-config', { vcpu_count: 1, mem_size_mib: 100_000_000 });
    expect(await vmm.call('PUT', '/actions', { action_type: 'InstanceStart' })).toEqual(
      fault(
        'Start microvm error: Invalid Memory Configuration: Cannot create mmap region: Cannot allocate memory (os error 12)',
      ),
    );
    expect(await qemuProcesses(vmm)).toEqual([]);
    expect(await state(vmm)).toMatchObject({ state: 'Not started' });
    await vmm.call('PATCH', '/machine-config', { mem_size_mib: 64 });
    await vmm.bootToyGuest();
  });

  it('refuses a kernel that says it has no virtio over PCI', async () => {
    await using vmm = await QemuVmm.ready();
    const config = gzipSync('CONFIG_VIRTIO=y\nCONFIG_VIRTIO_MMIO=y\n# CONFIG_VIRTIO_PCI is not set\n');
    const kernel = Buffer.concat([
      Buffer.from('\x7fELF\x02\x01'),
      Buffer.alloc(3 << 20),
      Buffer.from('IKCFG_ST'),
      config,
      Buffer.from('IKCFG_ED'),
    ]);
    await writeFile(vmm.scratch.file('mmio-only'), kernel);
    await vmm.call('PUT', '/boot-source', { kernel_image_path: vmm.scratch.file('mmio-only') });
    expect(await vmm.call('PUT', '/actions', { action_type: 'InstanceStart' })).toEqual(
      fault(/without CONFIG_VIRTIO_PCI.*Kernels that work/),
    );
  });

  it('takes a drive, throttles it, and puts another file under it while the guest runs', async () => {
    await using vmm = await QemuVmm.ready();
    const [disk, other] = [vmm.scratch.file('a,b.img'), vmm.scratch.file('other.img')];
    await writeFile(disk, Buffer.alloc(1 << 20));
    await writeFile(other, Buffer.alloc(2 << 20));
    const limit = { bandwidth: { size: 1 << 20, refill_time: 1000 } };
    await vmm.call('PUT', '/drives/d_1', {
      drive_id: 'd_1',
      path_on_host: disk,
      is_root_device: false,
      rate_limiter: limit,
    });
    await vmm.bootToyGuest();
    expect(await vmm.call('PATCH', '/drives/d_1', { drive_id: 'd_1', path_on_host: other })).toMatchObject({
      status: 204,
    });
    const off = { ops: { size: 0, refill_time: 0 }, bandwidth: { size: 0, refill_time: 0 } };
    await vmm.call('PATCH', '/drives/d_1', { drive_id: 'd_1', rate_limiter: off });
    expect((await vmm.call('GET', '/vm/config')).body).toMatchObject({
      drives: [{ drive_id: 'd_1', path_on_host: other, rate_limiter: null }],
    });
  });

  it('refuses a vsock dial by an end of file while no agent is there', async () => {
    await using vmm = await QemuVmm.ready();
    const udsPath = vmm.scratch.file('v.sock');
    await vmm.call('PUT', '/vsock', { guest_cid: 3, uds_path: udsPath });
    await vmm.bootToyGuest();
    const socket = createConnection(udsPath);
    socket.write('CONNECT 10022\n');
    const received = await socket.toArray();
    expect(Buffer.concat(received).toString()).toBe('');
  });

  it('starts from a configuration file without an API', async () => {
    await using vmm = await QemuVmm.start(['--no-api', '--config-file', 'vm.json'], async (scratch) => {
      const config = { 'boot-source': { kernel_image_path: scratch.file('toy') }, drives: [] };
      await writeFile(scratch.file('vm.json'), JSON.stringify(config));
    });
    await vmm.says('TOY GUEST UP\n');
    vmm.type('q');
    expect(await vmm.exit()).toBe(0);
  });
});

describe.skipIf(process.arch !== 'x64' || process.getuid?.() !== 0)('smartvm-qemu with a TAP interface', () => {
  const exists = (name: string) =>
    access(`/sys/class/net/${name}`).then(
      () => true,
      () => false,
    );

  it('makes it, holds it against others, gives it to QEMU, and takes it along when it ends', async () => {
    const name = `svt${process.pid}`;
    const body = { iface_id: 'eth0', host_dev_name: name };
    await using vmm = await QemuVmm.ready();
    expect((await vmm.call('PUT', '/network-interfaces/eth0', body)).status).toBe(204);
    expect(await exists(name)).toBe(true);

    await using other = await QemuVmm.ready();
    expect(await other.call('PUT', '/network-interfaces/eth0', body)).toEqual(
      fault(
        `Network config error: Could not create the network device: Open tap device failed: Error while creating ifreq structure: Device or resource busy (os error 16). Invalid TUN/TAP Backend provided by ${name}. Check our documentation on setting up the network devices.`,
      ),
    );

    await vmm.bootToyGuest();
    vmm.process.kill('SIGTERM');
    await vmm.exit();
    expect(await exists(name)).toBe(false);
  });
});

describe('the smartvm-qemu command line', () => {
  it.each([
    [['--nope'], 153, "Found argument 'nope' which wasn't expected, or isn't valid in this context."],
    [['--id', 'a', '--level', 'Nope'], 152, 'Failed to parse string to level filter: Nope'],
    [['--config-file', 'missing'], 152, 'No such file or directory (os error 2)'],
    [['--id', 'a_b'], 1, "Invalid instance ID 'a_b'"],
  ])('%j exits %d', async (args, code, message) => {
    await using vmm = await QemuVmm.start(args);
    expect(await vmm.exit()).toBe(code);
    expect(vmm.errors).toContain(message);
  });

  it('does not take over a socket that is there', async () => {
    await using vmm = await QemuVmm.start([], (scratch) => writeFile(scratch.file('api.sock'), ''));
    expect(await vmm.exit()).toBe(1);
    expect(vmm.errors).toContain('Failed to open the API socket at:');
  });

  it('prints its version as Firecracker does', async () => {
    await using vmm = await QemuVmm.start(['--version']);
    expect(await vmm.exit()).toBe(0);
    expect(vmm.console).toMatch(/^Firecracker v1\.17\.0-dev\n/);
  });
});
