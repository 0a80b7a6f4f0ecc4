import { describe, expect, test } from 'vitest';
import { VMConfig } from '../../../ts/config/vm-config.js';
import { minimalConfig } from './samples.js';

const errorsWith = (part: object) => new VMConfig({ ...minimalConfig(), ...part } as never).validate().errors;
const memoryHotplug = (part: object) => errorsWith({ memoryHotplug: part });
const cpuConfig = (part: object) => errorsWith({ cpuConfig: part });
const pmem = (...list: object[]) => errorsWith({ pmem: list });

// What Firecracker 1.17 refuses of these devices (src/vmm/src/vmm_config, src/vmm/src/cpu_config).
const REFUSED: [what: string, errors: string[], expected: (string | RegExp)[]][] = [
  ['no hotpluggable memory', memoryHotplug({}), ['memoryHotplug.totalSizeMib is required']],
  [
    'a block that is no power of 2',
    memoryHotplug({ totalSizeMib: 384, slotSizeMib: 384, blockSizeMib: 3 }),
    ['memoryHotplug.blockSizeMib must be a power of 2'],
  ],
  [
    'a slot that is no multiple of the block',
    memoryHotplug({ totalSizeMib: 130, slotSizeMib: 130, blockSizeMib: 4 }),
    ['memoryHotplug.slotSizeMib must be a multiple of blockSizeMib, which is 4'],
  ],
  [
    'a total that is no multiple of the default slot',
    memoryHotplug({ totalSizeMib: 200 }),
    ['memoryHotplug.totalSizeMib must be a multiple of slotSizeMib, which is 128'],
  ],
  ['a tiny slot', memoryHotplug({ totalSizeMib: 128, slotSizeMib: 64 }), ['memoryHotplug.slotSizeMib must be >= 128']],
  [
    'two pmem devices of one id',
    pmem({ id: 'a', pathOnHost: '/a' }, { id: 'a', pathOnHost: '/b' }),
    ['pmem[1].id must be unique, is the same as pmem[0].id'],
  ],
  [
    'a root pmem device beside a root drive',
    errorsWith({
      drives: [{ driveId: 'd', pathOnHost: '/d', isRootDevice: true }],
      pmem: [{ id: 'p', pathOnHost: '/p', isRootDevice: true }],
    }),
    ['pmem[0].isRootDevice must be the only root device, there is another'],
  ],
  [
    'two root pmem devices',
    pmem({ id: 'a', pathOnHost: '/a', isRootDevice: true }, { id: 'b', pathOnHost: '/b', isRootDevice: true }),
    [/^pmem\[0\]\.isRootDevice/, /^pmem\[1\]\.isRootDevice/],
  ],
  [
    'one socket for two',
    errorsWith({ vsock: { guestCid: 3, udsPath: '/s' }, drives: [{ driveId: 'd', socket: '/s' }] }),
    ['drives[0].socket must differ from vsock.udsPath'],
  ],
  [
    'metadata that is not JSON',
    errorsWith({ networkInterfaces: [{ ifaceId: 'e' }], mmds: { networkInterfaces: ['e'], contents: { a: 1n } } }),
    ['mmds.contents must hold nothing but JSON values'],
  ],
  ['a KVM capability in words', cpuConfig({ kvmCapabilities: ['x'] }), [/^cpuConfig\.kvmCapabilities\[0\] must be/]],
  [
    'a bitmap that is too long',
    cpuConfig({ msrModifiers: [{ addr: '1', bitmap: `0b${'1'.repeat(65)}` }] }),
    ["cpuConfig.msrModifiers[0].bitmap must be '0b' and at most 64 of '0', '1' and 'x'"],
  ],
  [
    'a leaf of 33 bits',
    cpuConfig({ cpuidModifiers: [{ leaf: '0x100000000', subleaf: '0', flags: 0, modifiers: [] }] }),
    [/^cpuConfig\.cpuidModifiers\[0\]\.leaf must be .* of at most 32 bits$/],
  ],
];

describe('validate() of devices', () => {
  test.each(REFUSED)('refuses %s', (_what, errors, expected) => {
    expect(errors).toEqual(expected.map((one) => (typeof one === 'string' ? one : expect.stringMatching(one))));
  });

  test('accepts the least of each', () => {
    expect(
      errorsWith({ memoryHotplug: { totalSizeMib: 128 }, entropy: {}, serial: {}, cpuConfig: {}, pmem: [] }),
    ).toEqual([]);
  });
});

describe('a configuration of a restored VM', () => {
  const errorsOf = (config: object) => new VMConfig(config, 'snapshot').validate().errors;

  test('says nothing of what is in the snapshot', () => {
    expect(errorsOf({ id: 'a', metrics: {}, logger: {}, serial: {}, mmds: { contents: { a: 1 } } })).toEqual([]);
    expect(errorsOf({ bootSource: { kernelImagePath: '/k' } })).toEqual([
      'bootSource is not a field; there are id, serial, mmds, logger, metrics',
    ]);
  });

  test('has no boot source to send', () => {
    expect(() => new VMConfig({}, 'snapshot').toBootSourcePayload()).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG' }),
    );
  });
});
