import { readFile, truncate, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { MetricsSample } from '../../ts/vmm/metrics.js';
import { until } from '../support/leftovers.js';
import { rejectionOf, toyBenchForAll, VMMS } from '../support/toy-vm.js';

async function first<T>(source: AsyncGenerator<T>): Promise<T> {
  const { value, done } = await source.next();
  if (done) {
    throw new Error('there is none');
  }
  return value;
}

describe.skipIf(process.arch !== 'x64').each(VMMS)('the devices of a VM on $name', (vmm) => {
  const bench = toyBenchForAll(vmm);

  const file = async (name: string, mib: number) => {
    await writeFile(bench().scratch.file(name), '');
    await truncate(bench().scratch.file(name), mib * 1024 * 1024);
    return bench().scratch.file(name);
  };

  it('a balloon is made and described, and its updates arrive', async () => {
    const balloon = { amountMib: 4, deflateOnOom: false, statsPollingIntervalS: 1, freePageHinting: false };
    const { vm } = await bench().boot({ balloon });
    expect(await vm.getBalloon()).toMatchObject(balloon);
    await vm.updateBalloonStatistics({ statsPollingIntervalS: 1 });
    // The toy guest has no driver for it: a VMM that was reached says so.
    expect(await rejectionOf(vm.updateBalloon({ amountMib: 8 }))).toMatchObject({
      code: 'API_REFUSED',
      method: 'PATCH',
      path: '/balloon',
      faultMessage: expect.stringContaining('Device not activated yet.'),
    });
    expect(await rejectionOf(vm.updateBalloon({ amountMib: -1 }))).toMatchObject({ code: 'INVALID_OPTION' });
    await vm.cleanup();
  });

  it('a balloon without statistics says so', async () => {
    const { vm } = await bench().boot({ balloon: { amountMib: 0 } });
    expect(await rejectionOf(vm.getBalloonStatistics())).toMatchObject({ code: 'API_REFUSED' });
    await vm.cleanup();
  });

  it('the metadata store takes contents, patches and replacements', async () => {
    const contents = { latest: { 'meta-data': { local_hostname: 'a', gone: 1 } } };
    const networkInterfaces = [{ ifaceId: 'eth0', hostDevName: `svm${process.pid}` }];
    const { vm } = await bench().boot({ networkInterfaces, mmds: { networkInterfaces: ['eth0'], contents } });
    expect(await vm.getMmds()).toEqual(contents);
    await vm.patchMmds({ latest: { 'meta-data': { gone: null, snake_case: true } } });
    expect(await vm.getMmds()).toEqual({ latest: { 'meta-data': { local_hostname: 'a', snake_case: true } } });
    await vm.putMmds({ other: [1] });
    expect(await vm.getMmds()).toEqual({ other: [1] });
    expect(await rejectionOf(vm.putMmds({ big: 'x'.repeat(51_200) }))).toMatchObject({ code: 'API_REFUSED' });
    expect(await vm.getMmds()).toEqual({ other: [1] });
    await vm.cleanup();
  });

  it('interfaces take other limits', async () => {
    const networkInterfaces = [{ ifaceId: 'eth0', hostDevName: `svn${process.pid}`, mtu: 1400 }];
    const { vm } = await bench().boot({ networkInterfaces });
    const rxRateLimiter = { bandwidth: { size: 1_000_000, refillTime: 100 } };
    await vm.updateNetworkInterface({ ifaceId: 'eth0', rxRateLimiter });
    expect((await vm.getFullConfig())['network-interfaces']).toMatchObject([
      { iface_id: 'eth0', rx_rate_limiter: { bandwidth: { size: 1_000_000, refill_time: 100 } } },
    ]);
    expect(await rejectionOf(vm.updateNetworkInterface({ ifaceId: 'eth9' }))).toMatchObject({ code: 'API_REFUSED' });
    await vm.cleanup();
  });

  it('drives are patched while the guest runs', async () => {
    const drives = [{ driveId: 'data', pathOnHost: await file('one.img', 1), isReadOnly: true }];
    const { vm } = await bench().boot({ drives });
    const other = await file('two.img', 2);
    await vm.updateDrive({ driveId: 'data', pathOnHost: other });
    await vm.updateDrive({ driveId: 'data', rateLimiter: { ops: { size: 100, refillTime: 1000 } } });
    expect((await vm.getFullConfig()).drives).toMatchObject([
      { drive_id: 'data', path_on_host: other, rate_limiter: { ops: { size: 100, refill_time: 1000 } } },
    ]);
    expect(await rejectionOf(vm.updateDrive({ driveId: 'data', pathOnHost: '/nowhere' }))).toMatchObject({
      code: 'API_REFUSED',
      faultMessage: expect.stringContaining('No such file'),
    });
    await vm.cleanup();
  });

  it('entropy, memory and the machine are as they were asked for', async () => {
    const { vm } = await bench().boot({ entropy: { rateLimiter: { ops: { size: 10, refillTime: 100 } } } });
    expect(await vm.getMachineConfig()).toMatchObject({ vcpuCount: 1, memSizeMib: 32, smt: false });
    expect((await vm.getFullConfig()).entropy).toMatchObject({ rate_limiter: { ops: { size: 10 } } });
    expect(await vm.getVersion()).toMatch(/^1\.\d+/);
    await vm.cleanup();
  });

  it('the serial port writes to a file', async () => {
    const serialOutPath = await file('serial', 0);
    const toy = await bench().create({ serial: { serialOutPath } });
    await toy.vm.start();
    const written = () => readFile(serialOutPath, 'utf8');
    await until(async () => (await written()).includes('TOY GUEST UP'), 30_000, 'the greeting in the file');
    await toy.vm.cleanup();
    expect(toy.console).not.toContain('TOY GUEST UP');
  });

  it('metrics come as they are flushed, and end with the VM', async () => {
    const { vm } = await bench().boot({ metrics: { emitId: true, properties: { tenant: 'a' } } });
    const metrics = vm.metrics();
    await vm.flushMetrics();
    const sample = await first(metrics);
    expect(sample).toMatchObject({ id: vm.id, properties: { tenant: 'a' } });
    expect(sample.groups.put_api_requests).toMatchObject({ machine_cfg_count: 1 });
    expect(Math.abs(sample.timestampMs - Date.now())).toBeLessThan(60_000);
    await vm.pause();
    await vm.flushMetrics();
    expect((await first(metrics)).groups.patch_api_requests).toBeDefined();
    await vm.cleanup();
    const rest: MetricsSample[] = [];
    for await (const last of metrics) {
      rest.push(last);
    }
    expect(rest.length).toBeLessThanOrEqual(1); // the VMM's farewell, where it had time for one
  });

  it('metrics that nobody reads do not hold the VMM up', async () => {
    const { vm } = await bench().boot({ metrics: {}, logger: { level: 'Debug' } });
    for (let round = 0; round < 100; round++) {
      await vm.flushMetrics();
    }
    let samples = 0;
    const metrics = vm.metrics();
    while (samples < 100) {
      samples += (await first(metrics)).timestampMs > 0 ? 1 : 0;
    }
    await vm.cleanup();
  });

  it('metrics go to a file that the configuration names', async () => {
    const metricsPath = await file('metrics.json', 0);
    const { vm } = await bench().boot({ metrics: { metricsPath } });
    await vm.flushMetrics();
    const metrics = vm.metrics();
    expect((await first(metrics)).timestampMs).toBeGreaterThan(0);
    await metrics.return();
    await vm.cleanup();
    expect(JSON.parse((await readFile(metricsPath, 'utf8')).split('\n')[0] ?? '')).toHaveProperty('utc_timestamp_ms');
  });

  it('the log comes line by line', async () => {
    const { vm } = await bench().boot({ logger: { level: 'Debug', showLevel: true } });
    const lines: string[] = [];
    const reading = (async () => {
      for await (const line of vm.logs()) {
        lines.push(line);
      }
    })();
    await until(() => lines.some((line) => line.includes('"/actions"')), 30_000, 'the request for the start');
    await vm.cleanup();
    await reading;
    expect(lines.every((line) => /^\d{4}-\d\d-\d\dT/.test(line))).toBe(true);
  });

  it('a file that it cannot make is told in its words', async () => {
    const { vm } = await bench().create({ metrics: { metricsPath: '/nowhere/metrics' } });
    expect(await rejectionOf(vm.start())).toMatchObject({ code: 'API_REFUSED', path: '/metrics' });
  });
});
