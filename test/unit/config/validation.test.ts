import { describe, expect, test } from 'vitest';
import { VMConfig } from '../../../ts/config/vm-config.js';
import { fullConfig, minimalConfig } from './samples.js';

const errorsOf = (config: unknown) => new VMConfig(config as never).validate().errors;
const errorsWith = (part: object) => errorsOf({ ...minimalConfig(), ...part });
const machine = (machineConfig: object) => errorsWith({ machineConfig });
const drives = (...list: object[]) => errorsWith({ drives: list });
const drive = (fields: object) => drives({ driveId: 'd', pathOnHost: '/d', ...fields });
const nics = (...list: object[]) => errorsWith({ networkInterfaces: list });
const nic = (fields: object) => nics({ ifaceId: 'eth0', ...fields });
const boot = (fields: object) => errorsOf({ bootSource: { kernelImagePath: '/k', ...fields } });
const vsock = (fields: object) => errorsWith({ vsock: { guestCid: 3, udsPath: '/v', ...fields } });
const mmds = (fields: object) =>
  errorsWith({ networkInterfaces: [{ ifaceId: 'eth0' }], mmds: { networkInterfaces: ['eth0'], ...fields } });
const bucket = (ops: unknown) => drive({ rateLimiter: { ops } });
const resourceIdRule = 'must be 1 to 64 letters, digits or underscores';
const macRule = 'must be a unicast MAC address like 02:00:00:00:00:01';
const linkLocalRule = 'must be an IPv4 address from 169.254.1.0 to 169.254.254.255';

const ACCEPTED: [string, string[]][] = [
  ['the full configuration', errorsOf(fullConfig())],
  ['the minimal configuration', errorsOf(minimalConfig())],
  ['32 vCPUs', machine({ vcpuCount: 32 })],
  ['an odd number of vCPUs without smt', machine({ vcpuCount: 3, smt: false })],
  ['one vCPU with smt', machine({ vcpuCount: 1, smt: true })],
  ['1 MiB', machine({ memSizeMib: 1 })],
  ['odd memory with small pages', machine({ memSizeMib: 129, hugePages: 'None' })],
  ['boot args of 2047 bytes', boot({ bootArgs: 'x'.repeat(2047) })],
  ['empty boot args', boot({ bootArgs: '' })],
  ['the last CID', vsock({ guestCid: 2 ** 32 - 2 })],
  ['a vsock path of 101 bytes', vsock({ udsPath: `/${'x'.repeat(100)}` })],
  ['a vhost-user socket of 107 bytes', drives({ driveId: 'd', socket: `/${'x'.repeat(106)}` })],
  [
    'a drive id that is an interface id too',
    errorsWith({ ...fullConfig(), drives: [{ driveId: 'eth0', socket: '/s' }] }),
  ],
  ['a bucket that is off', bucket({ size: 0, refillTime: 0 })],
  ['the longest refill', bucket({ size: 1, refillTime: 18446744073709 })],
  ['an MMDS address at the edge', mmds({ ipv4Address: '169.254.1.0' })],
  ['metrics to a pipe of our own', errorsWith({ metrics: {}, logger: {} })],
  ['a balloon as large as the memory', errorsWith({ balloon: { amountMib: 256 } })],
];

const REFUSED: [what: string, errors: string[], expected: string[]][] = [
  ['null', errorsOf(null), ['config must be an object']],
  ['an array', errorsOf([]), ['config must be an object']],
  ['an empty object', errorsOf({}), ['bootSource is required']],
  ['a null part', errorsWith({ vsock: null }), ['vsock must be an object']],
  ['an array for an object', errorsWith({ machineConfig: [] }), ['machineConfig must be an object']],
  ['an object for an array', errorsWith({ drives: {} }), ['drives must be an array']],
  ['a null element', errorsWith({ drives: [null] }), ['drives[0] must be an object']],
  [
    'a misspelt field',
    machine({ memSizeMB: 1 }),
    [
      'machineConfig.memSizeMB is not a field; there are vcpuCount, memSizeMib, smt, cpuTemplate, trackDirtyPages, hugePages',
    ],
  ],
  ['a name with control characters', drive({ '\x1b': 1 }), [expect.stringMatching(/^drives\[0\]\."\\u001b" is not/)]],
  ['no vCPU', machine({ vcpuCount: 0 }), ['machineConfig.vcpuCount must be >= 1']],
  ['33 vCPUs', machine({ vcpuCount: 33 }), ['machineConfig.vcpuCount must be <= 32']],
  ['half a vCPU', machine({ vcpuCount: 1.5 }), ['machineConfig.vcpuCount must be an integer']],
  ['NaN vCPUs', machine({ vcpuCount: Number.NaN }), ['machineConfig.vcpuCount must be an integer']],
  ['a number in a string', machine({ vcpuCount: '1' }), ['machineConfig.vcpuCount must be an integer']],
  [
    '3 vCPUs with smt',
    machine({ vcpuCount: 3, smt: true }),
    ['machineConfig.vcpuCount must be 1 or an even number when smt is true'],
  ],
  ['no memory', machine({ memSizeMib: 0 }), ['machineConfig.memSizeMib must be >= 1']],
  ['infinite memory', machine({ memSizeMib: Infinity }), ['machineConfig.memSizeMib must be an integer']],
  [
    'odd memory with huge pages',
    machine({ memSizeMib: 129, hugePages: '2M' }),
    ['machineConfig.memSizeMib must be a multiple of 2 when hugePages is 2M'],
  ],
  [
    'odd memory with transparent huge pages',
    machine({ memSizeMib: 129, hugePages: 'Transparent' }),
    ['machineConfig.memSizeMib must be a multiple of 2 when hugePages is Transparent'],
  ],
  ['1G pages', machine({ hugePages: '1G' }), ['machineConfig.hugePages must be one of None, Transparent, 2M']],
  ['smt in words', machine({ smt: 'yes' }), ['machineConfig.smt must be true or false']],
  ['an empty path', boot({ initrdPath: '' }), ['bootSource.initrdPath must not be empty']],
  ['a path with NUL', boot({ initrdPath: '/a\0b' }), ['bootSource.initrdPath must not contain a NUL character']],
  ['a path beyond PATH_MAX', boot({ initrdPath: 'é'.repeat(2048) }), [expect.stringContaining('is 4096')]],
  [
    'boot args of 2048',
    boot({ bootArgs: 'x'.repeat(2048) }),
    ['bootSource.bootArgs must be at most 2047 bytes, is 2048'],
  ],
  ['a drive id with a hyphen', drive({ driveId: 'bad-id' }), [`drives[0].driveId ${resourceIdRule}`]],
  ['a drive without backend', drives({ driveId: 'd' }), ['drives[0].pathOnHost is required where there is no socket']],
  [
    'a vhost-user drive with all that it refuses',
    drive({ socket: '/s', isReadOnly: false, rateLimiter: {}, ioEngine: 'Sync' }),
    ['pathOnHost', 'isReadOnly', 'rateLimiter', 'ioEngine'].map((name) =>
      expect.stringMatching(`^drives\\[0\\]\\.${name} must be absent`),
    ),
  ],
  ['an odd cache type', drive({ cacheType: 'unsafe' }), ['drives[0].cacheType must be one of Unsafe, Writeback']],
  ['an odd engine', drive({ ioEngine: 'Uring' }), ['drives[0].ioEngine must be one of Sync, Async']],
  [
    'two drives of one id',
    drives({ driveId: 'd', socket: '/a' }, { driveId: 'd', socket: '/b' }),
    ['drives[1].driveId must be unique, is the same as drives[0].driveId'],
  ],
  [
    'two root drives',
    drives({ driveId: 'a', socket: '/a', isRootDevice: true }, { driveId: 'b', socket: '/b', isRootDevice: true }),
    ['drives must have at most one root device, has 2: drives[0], drives[1]'],
  ],
  ['a bucket without refill', bucket({ size: 1 }), ['drives[0].rateLimiter.ops.refillTime is required']],
  ['a negative bucket', bucket({ size: -1, refillTime: 1 }), ['drives[0].rateLimiter.ops.size must be >= 0']],
  [
    'a refill that the VMM would drop',
    bucket({ size: 1, refillTime: 18446744073710 }),
    ['drives[0].rateLimiter.ops.refillTime must be <= 18446744073709'],
  ],
  ['a NIC id with a dot', nics({ ifaceId: 'eth0.1' }), [`networkInterfaces[0].ifaceId ${resourceIdRule}`]],
  ['a short MAC', nic({ guestMac: '02:00:00:00:00' }), [`networkInterfaces[0].guestMac ${macRule}`]],
  ['a MAC with dashes', nic({ guestMac: '02-00-00-00-00-01' }), [`networkInterfaces[0].guestMac ${macRule}`]],
  ["a group's MAC", nic({ guestMac: '01:00:5e:00:00:01' }), [`networkInterfaces[0].guestMac ${macRule}`]],
  ['a MAC of zeros', nic({ guestMac: '00:00:00:00:00:00' }), [`networkInterfaces[0].guestMac ${macRule}`]],
  [
    'a long TAP',
    nic({ hostDevName: 'x'.repeat(16) }),
    [expect.stringMatching(/^networkInterfaces\[0\]\.hostDevName must/)],
  ],
  ['a tiny MTU', nic({ mtu: 67 }), ['networkInterfaces[0].mtu must be >= 68']],
  [
    'two NICs alike',
    nics(
      { ifaceId: 'eth0', hostDevName: 'tap0', guestMac: '02:00:00:00:00:0a' },
      { ifaceId: 'eth0', hostDevName: 'tap0', guestMac: '02:00:00:00:00:0A' },
    ),
    ['ifaceId', 'hostDevName', 'guestMac'].map(
      (name) => `networkInterfaces[1].${name} must be unique, is the same as networkInterfaces[0].${name}`,
    ),
  ],
  ["the host's CID", vsock({ guestCid: 2 }), ['vsock.guestCid must be >= 3']],
  ['the wildcard CID', vsock({ guestCid: 2 ** 32 - 1 }), ['vsock.guestCid must be <= 4294967294']],
  [
    'a vsock path of 102 bytes',
    vsock({ udsPath: `/${'é'.repeat(50)}x` }),
    ['vsock.udsPath must be at most 101 bytes, is 102'],
  ],
  [
    'a balloon beyond the default memory',
    errorsWith({ balloon: { amountMib: 257 } }),
    ['balloon.amountMib must be at most machineConfig.memSizeMib, which is 256'],
  ],
  [
    'a slow poll',
    errorsWith({ balloon: { amountMib: 0, statsPollingIntervalS: 65536 } }),
    ['balloon.statsPollingIntervalS must be <= 65535'],
  ],
  ['MMDS on no interface', mmds({ networkInterfaces: [] }), ['mmds.networkInterfaces must have at least 1 element']],
  [
    'MMDS on an interface that is not there',
    mmds({ networkInterfaces: ['eth0', 'eth1'] }),
    ["mmds.networkInterfaces[1] must be the ifaceId of a network interface, 'eth1' is not"],
  ],
  ['MMDS V3', mmds({ version: 'V3' }), ['mmds.version must be one of V1, V2']],
  ['MMDS at a public address', mmds({ ipv4Address: '1.1.1.1' }), [`mmds.ipv4Address ${linkLocalRule}`]],
  ['MMDS in the first block', mmds({ ipv4Address: '169.254.0.1' }), [`mmds.ipv4Address ${linkLocalRule}`]],
  ['MMDS in the last block', mmds({ ipv4Address: '169.254.255.1' }), [`mmds.ipv4Address ${linkLocalRule}`]],
  ['MMDS at no address', mmds({ ipv4Address: '169.254.1.256' }), [`mmds.ipv4Address ${linkLocalRule}`]],
  [
    'an odd log level',
    errorsWith({ logger: { level: 'Nope' } }),
    ['logger.level must be one of Error, Warning, Info, Debug, Trace, Off'],
  ],
  ['metrics to nowhere', errorsWith({ metrics: { metricsPath: '' } }), ['metrics.metricsPath must not be empty']],
  [
    'numbers as metric properties',
    errorsWith({ metrics: { metricsPath: '/m', properties: { a: 1 } } }),
    ['metrics.properties must be an object whose values are strings'],
  ],
  ['a function', errorsWith({ drives: () => [] }), [expect.stringMatching(/^config must be plain data: /)]],
];

describe('validate()', () => {
  test.each(ACCEPTED)('accepts %s', (_what, errors) => {
    expect(errors).toEqual([]);
  });

  test.each(REFUSED)('refuses %s', (_what, errors, expected) => {
    expect(errors).toEqual(expected);
  });

  test('reports everything at once', () => {
    const errors = errorsOf({
      id: '',
      machineConfig: { vcpuCount: 0, memSizeMib: -1 },
      vsock: { guestCid: 0 },
      mmds: 1,
    });
    expect(errors.map((error) => error.split(' ')[0])).toEqual([
      'id',
      'bootSource',
      'machineConfig.vcpuCount',
      'machineConfig.memSizeMib',
      'vsock.guestCid',
      'vsock.udsPath',
      'mmds',
    ]);
  });
});
