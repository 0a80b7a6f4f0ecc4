import { describe, expect, it } from 'vitest';
import { type MachineSpec, qemuArguments } from '../../../ts/qemu/machine/command-line.js';
import { throttleLimits } from '../../../ts/qemu/machine/throttle.js';
import type { CheckedDrive } from '../../../ts/qemu/resources/drives.js';
import { KernelCmdline } from '../../../ts/qemu/resources/kernel-cmdline.js';
import { DEFAULT_MACHINE_CONFIG } from '../../../ts/qemu/resources/machine-config.js';

const drive = (overrides: Partial<CheckedDrive> = {}): CheckedDrive => ({
  id: 'rootfs',
  partuuid: null,
  isRoot: true,
  cacheType: 'Unsafe',
  isReadOnly: true,
  ioEngine: 'Sync',
  rateLimiter: null,
  file: { path: '/a,b="c"', isBlockDevice: false, sizeBytes: 512, serial: '1' },
  ...overrides,
});

const spec = (overrides: Partial<MachineSpec> = {}, bootArgs: string | null = 'console=ttyS0'): MachineSpec => ({
  arch: 'x64',
  accelerator: 'tcg',
  machineConfig: DEFAULT_MACHINE_CONFIG,
  bootSource: {
    config: { kernel_image_path: '/k', initrd_path: null, boot_args: bootArgs },
    cmdline: KernelCmdline.parse(bootArgs),
  },
  drives: [],
  interfaces: [],
  pmem: [],
  balloon: null,
  entropy: null,
  memoryHotplug: null,
  hasVsock: false,
  ...overrides,
});

function option(args: readonly string[], name: string): string[] {
  return args.flatMap((arg, index) => (arg === name ? [args[index + 1] ?? ''] : []));
}

describe('qemuArguments', () => {
  it('is one machine an architecture', () => {
    const x64 = qemuArguments(spec());
    expect(option(x64, '-machine')[0]).toMatch(/^q35,/);
    expect(option(x64, '-bios')).toEqual(['qboot.rom']);
    expect(option(x64, '-cpu')).toEqual(['qemu64,aes=on,pclmulqdq=on,ssse3=on,sse4.1=on']);
    const arm64 = qemuArguments(spec({ arch: 'arm64', accelerator: 'kvm' }));
    expect(option(arm64, '-machine')[0]).toMatch(/^virt,/);
    expect(option(arm64, '-bios')).toEqual([]);
    expect([option(arm64, '-accel'), option(arm64, '-cpu')]).toEqual([['kvm'], ['host']]);
  });

  it('always runs in the sandbox and reads no configuration of the host', () => {
    const args = qemuArguments(spec());
    expect(option(args, '-sandbox')).toEqual([
      'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    ]);
    expect(args).toEqual(expect.arrayContaining(['-nodefaults', '-no-user-config', '-no-reboot', '-no-shutdown']));
  });

  it.each([
    [drive(), 'no_timer_check console=ttyS0 root=/dev/vda ro'],
    [drive({ isReadOnly: false, partuuid: 'abc' }), 'no_timer_check console=ttyS0 root=PARTUUID=abc rw'],
    [drive({ isRoot: false }), 'no_timer_check console=ttyS0'],
  ])('tells the kernel of its root drive', (root, cmdline) => {
    expect(option(qemuArguments(spec({ drives: [root] })), '-append')).toEqual([cmdline]);
  });

  it('leaves the check of the timer to the kernel where KVM runs it', () => {
    const args = qemuArguments(spec({ accelerator: 'kvm', drives: [drive()] }));
    expect(option(args, '-append')).toEqual(['console=ttyS0 root=/dev/vda ro']);
  });

  it('gives paths to QEMU in JSON, where no character means anything', () => {
    const [file] = option(qemuArguments(spec({ drives: [drive()] })), '-blockdev');
    expect(JSON.parse(file ?? '')).toMatchObject({ driver: 'file', filename: '/a,b="c"', 'read-only': true });
  });

  it('bounds the code that it translates, so that a limit of its memory can hold', () => {
    expect(option(qemuArguments(spec()), '-accel')).toEqual(['tcg,thread=multi,tb-size=256']);
  });

  it('has a vsock port only when there is a vsock', () => {
    const named = (args: string[]) => option(args, '-device').filter((device) => device.includes('dev.smartvm.vsock'));
    expect(named(qemuArguments(spec()))).toEqual([]);
    expect(named(qemuArguments(spec({ hasVsock: true })))).toHaveLength(1);
  });
});

describe('KernelCmdline', () => {
  it('drops pci=off, which is for devices on MMIO, but only from the kernel’s part', () => {
    const cmdline = KernelCmdline.parse('console=ttyS0 pci=off quiet -- pci=off').with('root=/dev/vda');
    expect(cmdline.toString()).toBe('console=ttyS0 quiet root=/dev/vda -- pci=off');
  });

  it('does not take a separator inside quotes for one', () => {
    expect(KernelCmdline.parse('a="b -- c" -- d').with('e').toString()).toBe('a="b -- c" e -- d');
  });

  it('holds 2047 bytes, of which Firecracker needs some', () => {
    expect(() => KernelCmdline.parse('x'.repeat(2048))).toThrow('Invalid cmdline capacity provided.');
    expect(() => KernelCmdline.parse('x'.repeat(2047)).with()).toThrow('command line too long');
    expect(KernelCmdline.parse('x'.repeat(2039)).with().toString()).toHaveLength(2039);
  });
});

describe('throttleLimits', () => {
  it('names every limit, and 0 for those that are off', () => {
    expect(throttleLimits(null)).toEqual({ bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 });
  });

  it('turns a bucket into a rate, with a burst of its size when it holds more than a second’s worth', () => {
    const bandwidth = { size: 1000, refill_time: 100, one_time_burst: null };
    const ops = { size: 600, refill_time: 3000, one_time_burst: null };
    expect(throttleLimits({ bandwidth, ops })).toMatchObject({
      bps: 10_000,
      iops: 200,
      iops_max: 200,
      iops_max_length: 3,
    });
    expect(throttleLimits({ bandwidth, ops })).not.toHaveProperty('bps_max');
  });
});
