import type { IMicroVMConfig } from '../../../ts/config/types.js';

const rateLimiter = () => ({
  bandwidth: { size: 1_000_000, refillTime: 100, oneTimeBurst: 5_000_000 },
  ops: { size: 0, refillTime: 0, oneTimeBurst: 0 },
});

export const rootDrive = () => ({
  driveId: 'root',
  pathOnHost: '/d/root',
  isRootDevice: true,
  isReadOnly: true,
  partuuid: '0eaa91a0-01',
  cacheType: 'Writeback' as const,
  ioEngine: 'Async' as const,
  rateLimiter: rateLimiter(),
});

export const vhostUserDrive = () => ({ driveId: 'data_1', socket: '/run/vhost.sock' });

export const boundInterface = () => ({
  ifaceId: 'eth0',
  hostDevName: 'tap0',
  guestMac: '02:00:00:00:00:0a',
  mtu: 1500,
  rxRateLimiter: rateLimiter(),
  txRateLimiter: rateLimiter(),
});

export const pmemDevice = () => ({
  id: 'pmem_0',
  pathOnHost: '/d/pmem',
  isRootDevice: false,
  isReadOnly: true,
  rateLimiter: rateLimiter(),
});

/** Every part and every field that one configuration can have. */
export function fullConfig() {
  return {
    id: 'web-1',
    bootSource: { kernelImagePath: '/k/vmlinux', initrdPath: '/k/initrd', bootArgs: 'console=ttyS0' },
    machineConfig: {
      vcpuCount: 4,
      memSizeMib: 512,
      smt: true,
      cpuTemplate: 'None',
      trackDirtyPages: true,
      hugePages: '2M',
    },
    cpuConfig: {
      kvmCapabilities: ['121', '!56'],
      cpuidModifiers: [
        { leaf: '0x80000001', subleaf: '0b0', flags: 1, modifiers: [{ register: 'ecx', bitmap: '0bx_1_0' }] },
      ],
      msrModifiers: [{ addr: '0x10a', bitmap: '0b1' }],
      regModifiers: [{ addr: '0x603000000013c020', bitmap: '0b0' }],
      vcpuFeatures: [{ index: 0, bitmap: '0b11x' }],
    },
    drives: [rootDrive(), vhostUserDrive()],
    pmem: [pmemDevice()],
    networkInterfaces: [boundInterface()],
    vsock: { guestCid: 3, udsPath: '/run/v.sock' },
    balloon: {
      amountMib: 512,
      deflateOnOom: false,
      statsPollingIntervalS: 1,
      freePageHinting: true,
      freePageReporting: true,
    },
    entropy: { rateLimiter: rateLimiter() },
    serial: { serialOutPath: '/l/serial', rateLimiter: rateLimiter().bandwidth },
    memoryHotplug: { totalSizeMib: 1024, slotSizeMib: 256, blockSizeMib: 4 },
    mmds: {
      version: 'V1',
      networkInterfaces: ['eth0'],
      ipv4Address: '169.254.169.250',
      imdsCompat: true,
      contents: {},
    },
    logger: { logPath: '/l/log', level: 'Trace', showLevel: true, showLogOrigin: true, module: 'api_server::request' },
    metrics: { metricsPath: '/l/metrics', emitId: true, properties: { tenant: 'a' } },
  } satisfies IMicroVMConfig;
}

/** The least that is a valid configuration. */
export function minimalConfig(): IMicroVMConfig {
  return { bootSource: { kernelImagePath: '/k/vmlinux' } };
}
