import { copyFile, unlink } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../support/leftovers.js';
import { DebianVmm, shell } from './debian-vmm.js';
import { QemuVmm } from './qemu-vmm.js';

describe.skipIf(process.arch !== 'x64')('Debian on smartvm-qemu', () => {
  let vmms: QemuVmm[];

  beforeEach(() => {
    vmms = [];
  });

  afterEach(async () => {
    for (const vmm of vmms) {
      await vmm[Symbol.asyncDispose]();
    }
  });

  it('has its balloon inflated, tells of its memory, and takes entropy', async () => {
    const { vmm, dial } = await DebianVmm.boot({
      '/balloon': { amount_mib: 0, deflate_on_oom: true, stats_polling_interval_s: 1 },
      '/entropy': { rate_limiter: { bandwidth: { size: 65_536, refill_time: 100 } } },
    });
    vmms.push(vmm);
    const guest = await dial();
    const stats = async () => (await vmm.call('GET', '/balloon/statistics')).body as Record<string, number>;
    await until(async () => (await stats()).total_memory !== undefined, 30_000, 'statistics');
    expect((await stats()).total_memory).toBeGreaterThan(200 * 2 ** 20);

    expect(await vmm.call('PATCH', '/balloon', { amount_mib: 64 })).toMatchObject({ status: 204 });
    await until(async () => (await stats()).actual_mib === 64, 20_000, 'an inflated balloon');
    expect(await vmm.call('PATCH', '/balloon', { amount_mib: 257 })).toMatchObject({
      body: { fault_message: 'Balloon update error: Balloon: Requested memory should be less than 257MiB' },
    });
    expect(await shell(guest, 'cat /sys/class/misc/hw_random/rng_available')).toContain('virtio_rng');
    expect(await shell(guest, 'head -c 1000 /dev/hwrng | wc -c')).toBe('1000');
    guest.close();
  });

  it('goes on out of a snapshot, its agent within reach over vsock again', async () => {
    const source = await DebianVmm.boot({});
    vmms.push(source.vmm);
    const { vmm } = source;
    const guest = await source.dial();
    await shell(guest, 'echo kept > /run/kept; sleep 1000 & echo $! > /run/pid');
    await vmm.call('PATCH', '/vm', { state: 'Paused' });
    const [snap, mem] = [vmm.scratch.file('snap'), vmm.scratch.file('mem')];
    expect(await vmm.call('PUT', '/snapshot/create', { snapshot_path: snap, mem_file_path: mem })).toMatchObject({
      status: 204,
    });
    await copyFile(vmm.scratch.file('vmm', 'overlay.img'), vmm.scratch.file('overlay.kept'));
    guest.close();
    vmm.process.kill('SIGTERM');
    await vmm.exit();

    for (let round = 0; round < 2; round++) {
      await unlink(vmm.scratch.file('vmm', 'vsock.sock')); // no VMM removes its own
      await copyFile(vmm.scratch.file('overlay.kept'), vmm.scratch.file('vmm', 'overlay.img'));
      const clone = await QemuVmm.ready();
      vmms.push(clone);
      const backend = { backend_type: 'File', backend_path: mem };
      expect(
        await clone.call('PUT', '/snapshot/load', { snapshot_path: snap, mem_backend: backend, resume_vm: true }),
      ).toEqual({ status: 204, body: undefined });
      const again = await source.dial();
      expect(await shell(again, 'cat /run/kept; kill -0 $(cat /run/pid) && echo alive')).toBe('kept\nalive');
      await shell(again, 'rm /run/kept'); // the next one must not miss it
      again.close();
      clone.process.kill('SIGTERM');
      await clone.exit();
    }
  });
});
