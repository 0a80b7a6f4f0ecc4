import { describe, expect, test } from 'vitest';
import { VMConfig } from '../../../ts/config/vm-config.js';
import type { components } from '../../../ts/firecracker/generated.js';
import { boundInterface, fullConfig, minimalConfig, pmemDevice, rootDrive, vhostUserDrive } from './samples.js';

// Every `sent` is declared as Firecracker's own type, so `tsc` fails where a payload is not what the API takes; every `expected`
// is declared with all fields of that type, so a field that the API has and SmartVM does not carry over fails as well.
type Api = components['schemas'];

const config = new VMConfig(fullConfig());
const RATE_LIMITER: Required<Api['RateLimiter']> = {
  bandwidth: { size: 1_000_000, refill_time: 100, one_time_burst: 5_000_000 },
  ops: { size: 0, refill_time: 0, one_time_burst: 0 },
};

describe('a payload carries every field', () => {
  test('of the boot source', () => {
    const sent: Api['BootSource'] = config.toBootSourcePayload();
    const expected: Required<Api['BootSource']> = {
      kernel_image_path: '/k/vmlinux',
      initrd_path: '/k/initrd',
      boot_args: 'console=ttyS0',
    };
    expect(sent).toStrictEqual(expected);
  });

  test('of the machine', () => {
    const sent: Api['MachineConfiguration'] = config.toMachineConfigPayload();
    const expected: Required<Api['MachineConfiguration']> = {
      vcpu_count: 4,
      mem_size_mib: 512,
      smt: true,
      cpu_template: 'None',
      track_dirty_pages: true,
      huge_pages: '2M',
    };
    expect(sent).toStrictEqual(expected);
  });

  test('of a drive', () => {
    const sent: Api['Drive'] = config.toDrivePayload(rootDrive());
    const expected: Required<Omit<Api['Drive'], 'socket'>> = {
      drive_id: 'root',
      path_on_host: '/d/root',
      is_root_device: true,
      is_read_only: true,
      partuuid: '0eaa91a0-01',
      cache_type: 'Writeback',
      io_engine: 'Async',
      rate_limiter: RATE_LIMITER,
    };
    expect(sent).toStrictEqual(expected);
  });

  test('of a network interface', () => {
    const sent: Api['NetworkInterface'] = config.toNetworkInterfacePayload(boundInterface());
    const expected: Required<Api['NetworkInterface']> = {
      iface_id: 'eth0',
      host_dev_name: 'tap0',
      guest_mac: '02:00:00:00:00:0a',
      mtu: 1500,
      rx_rate_limiter: RATE_LIMITER,
      tx_rate_limiter: RATE_LIMITER,
    };
    expect(sent).toStrictEqual(expected);
  });

  test('of the vsock, without the deprecated id', () => {
    const sent: Api['Vsock'] | null = config.toVsockPayload();
    const expected: Required<Omit<Api['Vsock'], 'vsock_id'>> = { guest_cid: 3, uds_path: '/run/v.sock' };
    expect(sent).toStrictEqual(expected);
  });

  test('of the balloon', () => {
    const sent: Api['Balloon'] | null = config.toBalloonPayload();
    const expected: Required<Api['Balloon']> = {
      amount_mib: 512,
      deflate_on_oom: false,
      stats_polling_interval_s: 1,
      free_page_hinting: true,
      free_page_reporting: true,
    };
    expect(sent).toStrictEqual(expected);
  });

  test('of the metadata service', () => {
    const sent: Api['MmdsConfig'] | null = config.toMmdsConfigPayload();
    const expected: Required<Api['MmdsConfig']> = {
      version: 'V1',
      network_interfaces: ['eth0'],
      ipv4_address: '169.254.169.250',
      imds_compat: true,
    };
    expect(sent).toStrictEqual(expected);
  });

  test('of the CPU template', () => {
    const sent: Api['CpuConfig'] | null = config.toCpuConfigPayload();
    const expected: Required<Api['CpuConfig']> = {
      kvm_capabilities: ['121', '!56'],
      cpuid_modifiers: [
        { leaf: '0x80000001', subleaf: '0b0', flags: 1, modifiers: [{ register: 'ecx', bitmap: '0bx_1_0' }] },
      ],
      msr_modifiers: [{ addr: '0x10a', bitmap: '0b1' }],
      reg_modifiers: [{ addr: '0x603000000013c020', bitmap: '0b0' }],
      vcpu_features: [{ index: 0, bitmap: '0b11x' }],
    };
    expect(sent).toStrictEqual(expected);
  });

  test('of a pmem device', () => {
    const sent: Api['Pmem'] = config.toPmemPayload(pmemDevice());
    const expected: Required<Api['Pmem']> = {
      id: 'pmem_0',
      path_on_host: '/d/pmem',
      root_device: false,
      read_only: true,
      rate_limiter: RATE_LIMITER,
    };
    expect(sent).toStrictEqual(expected);
  });

  test('of the entropy, serial and memory devices', () => {
    const entropy: Required<Api['EntropyDevice']> = { rate_limiter: RATE_LIMITER };
    const serial: Required<Api['SerialDevice']> = {
      serial_out_path: '/l/serial',
      rate_limiter: { size: 1_000_000, refill_time: 100, one_time_burst: 5_000_000 },
    };
    const memory: Required<Api['MemoryHotplugConfig']> = {
      total_size_mib: 1024,
      slot_size_mib: 256,
      block_size_mib: 4,
    };
    const sent: [Api['EntropyDevice'] | null, Api['SerialDevice'] | null, Api['MemoryHotplugConfig'] | null] = [
      config.toEntropyPayload(),
      config.toSerialPayload(),
      config.toMemoryHotplugPayload(),
    ];
    expect(sent).toStrictEqual([entropy, serial, memory]);
  });

  test('of the logger', () => {
    const sent: Api['Logger'] | null = config.toLoggerPayload();
    const expected: Required<Api['Logger']> = {
      log_path: '/l/log',
      level: 'Trace',
      show_level: true,
      show_log_origin: true,
      module: 'api_server::request',
    };
    expect(sent).toStrictEqual(expected);
  });

  test('of the metrics', () => {
    const sent: Api['Metrics'] | null = config.toMetricsPayload();
    const expected: Required<Api['Metrics']> = {
      metrics_path: '/l/metrics',
      emit_id: true,
      properties: { tenant: 'a' },
    };
    expect(sent).toStrictEqual(expected);
  });
});

describe('what a configuration leaves out', () => {
  const minimal = new VMConfig(minimalConfig());

  test('is left out of the payload, or has its documented default', () => {
    expect(minimal.toBootSourcePayload()).toStrictEqual({ kernel_image_path: '/k/vmlinux' });
    expect(minimal.toMachineConfigPayload()).toStrictEqual({ vcpu_count: 1, mem_size_mib: 256 });
    expect(minimal.toDrivePayload({ driveId: 'd', pathOnHost: '/d' })).toStrictEqual({
      drive_id: 'd',
      path_on_host: '/d',
      is_root_device: false,
      is_read_only: false,
    });
    expect(minimal.toNetworkInterfacePayload({ ifaceId: 'eth0' })).toStrictEqual({ iface_id: 'eth0' });
  });

  test('has a default in a device that is there', () => {
    const devices = new VMConfig({
      ...minimalConfig(),
      networkInterfaces: [{ ifaceId: 'eth0' }],
      balloon: { amountMib: 0 },
      mmds: { networkInterfaces: ['eth0'] },
      logger: {},
    });
    expect(devices.toBalloonPayload()).toStrictEqual({ amount_mib: 0, deflate_on_oom: true });
    expect(devices.toMmdsConfigPayload()).toStrictEqual({ version: 'V2', network_interfaces: ['eth0'] });
    expect(devices.toLoggerPayload()).toStrictEqual({});
  });

  test('is null where it is a whole device', () => {
    expect(minimal.toVsockPayload()).toBeNull();
    expect(minimal.toBalloonPayload()).toBeNull();
    expect(minimal.toMmdsConfigPayload()).toBeNull();
    expect(minimal.toLoggerPayload()).toBeNull();
    expect(minimal.toMetricsPayload()).toBeNull();
  });

  test('is not said to a vhost-user drive, which refuses to be told', () => {
    const sent: Api['Drive'] = minimal.toDrivePayload(vhostUserDrive());
    expect(sent).toStrictEqual({ drive_id: 'data_1', socket: '/run/vhost.sock', is_root_device: false });
  });
});
