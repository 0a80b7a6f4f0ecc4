import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { until } from '../support/leftovers.js';
import { QemuVmm } from './qemu-vmm.js';

const lines = async (path: string) => (await readFile(path, 'utf8')).trimEnd().split('\n');

describe.skipIf(process.arch !== 'x64')('the devices of smartvm-qemu', () => {
  it('write the serial port to a file, where one is configured', async () => {
    await using vmm = await QemuVmm.ready();
    const path = vmm.scratch.file('serial.log');
    await vmm.call('PUT', '/serial', { serial_out_path: path });
    await vmm.call('PUT', '/boot-source', { kernel_image_path: vmm.scratch.file('toy') });
    expect((await vmm.call('PUT', '/actions', { action_type: 'InstanceStart' })).status).toBe(204);
    await until(async () => (await readFile(path, 'utf8')).includes('TOY GUEST UP\n'), 30_000, 'the greeting');
    expect(vmm.console).toBe('');
  });

  it('log the requests, and write metrics at the start, when asked and at the end', async () => {
    await using vmm = await QemuVmm.ready(['--id', 'vm-7']);
    const [log, metrics, disk] = ['log', 'metrics', 'disk'].map((name) => vmm.scratch.file(name)) as [
      string,
      string,
      string,
    ];
    await writeFile(disk, Buffer.alloc(1 << 20));
    await vmm.call('PUT', '/logger', { log_path: log, show_level: true });
    await vmm.call('PUT', '/metrics', { metrics_path: metrics });
    await vmm.call('PUT', '/drives/d', { drive_id: 'd', path_on_host: disk, is_root_device: false });
    await vmm.call('PUT', '/drives/d', { nope: 1 });
    await vmm.bootToyGuest();
    await vmm.call('PATCH', '/vm', { state: 'Paused' });
    await vmm.call('PUT', '/actions', { action_type: 'FlushMetrics' });
    await vmm.call('PATCH', '/vm', { state: 'Resumed' });
    vmm.type('q');
    expect(await vmm.exit()).toBe(0);

    const [start, flushed, end] = (await lines(metrics)).map((line) => JSON.parse(line));
    expect(start).toMatchObject({ put_api_requests: { drive_count: 2, drive_fails: 1, actions_count: 1 } });
    expect(flushed.put_api_requests).toMatchObject({ drive_count: 0, actions_count: 1 });
    expect(flushed.latencies_us.pause_vm).toBeGreaterThan(0);
    expect(flushed.block_d).toMatchObject({ read_count: 0 });
    expect(end.vmm).toEqual({ panic_count: 0 });
    const said = (await lines(log)).map((line) => line.replace(/^\S+ /, ''));
    expect(said).toContain(
      '[vm-7:fc_api:INFO] The API server received a Patch request on "/vm" with body "{\\"state\\":\\"Paused\\"}".',
    );
    expect(said).toContain('[vm-7:fc_api:INFO] The request was executed successfully. Status code: 204 No Content.');
    expect(said.some((line) => /^\[vm-7:fc_api:ERROR\] .*unknown field `nope`/.test(line))).toBe(true);
    expect(said.some((line) => /^\[vm-7:main:INFO\] 'pause vm' VMM action took \d+ us\.$/.test(line))).toBe(true);
  });

  it('start with every device there is', async () => {
    await using vmm = await QemuVmm.ready();
    const file = vmm.scratch.file('pmem');
    await writeFile(file, Buffer.alloc(2 << 20));
    const put = async (path: string, body: object) => expect((await vmm.call('PUT', path, body)).status).toBe(204);
    await put('/balloon', {
      amount_mib: 1,
      deflate_on_oom: true,
      stats_polling_interval_s: 1,
      free_page_reporting: true,
    });
    await put('/entropy', { rate_limiter: { bandwidth: { size: 1000, refill_time: 100 } } });
    await put('/pmem/p', { id: 'p', path_on_host: file });
    await put('/pmem/q', { id: 'q', path_on_host: file, read_only: true });
    await put('/hotplug/memory', { total_size_mib: 256 });
    await vmm.bootToyGuest();
    expect((await vmm.call('GET', '/hotplug/memory')).body).toEqual({
      block_size_mib: 2,
      total_size_mib: 256,
      slot_size_mib: 128,
      plugged_size_mib: 0,
      requested_size_mib: 0,
    });
    expect((await vmm.call('PATCH', '/hotplug/memory', { requested_size_mib: 128 })).body).toEqual({
      fault_message: 'Memory hotplug update error: Failed to create memory hotplug device: Device is not active',
    });
  });

  it('take the metadata and its limit from the command line', async () => {
    await using vmm = await QemuVmm.start(['--metadata', 'meta.json', '--mmds-size-limit', '12'], (scratch) =>
      writeFile(scratch.file('meta.json'), '{"a": "b"}'),
    );
    await vmm.answering();
    expect((await vmm.call('GET', '/mmds')).body).toEqual({ a: 'b' });
    expect(await vmm.call('PATCH', '/mmds', { c: 'd' })).toMatchObject({ status: 413 });
  });
});
