import { describe, expect, test } from 'vitest';
import { VMConfig } from '../../../ts/config/vm-config.js';
import { SmartVMError } from '../../../ts/errors.js';
import { fullConfig, minimalConfig } from './samples.js';

describe('VMConfig keeps its own copy', () => {
  test('whatever the caller does to what it gave', () => {
    const given = fullConfig();
    const config = new VMConfig(given);
    given.drives.pop();
    given.mmds.networkInterfaces.push('eth9');
    expect(config.config).toStrictEqual(fullConfig());
  });

  test('whatever the caller does to what it was handed', () => {
    const config = new VMConfig(fullConfig());
    config.config.drives?.pop();
    config.validate().errors.push('mine');
    config.toMmdsConfigPayload()?.network_interfaces.push('eth9');
    Object.assign(config.toMetricsPayload()?.properties ?? {}, { tenant: 'b' });
    expect(config.config).toStrictEqual(fullConfig());
    expect(config.validate()).toEqual({ valid: true, errors: [] });
    expect(config.toMmdsConfigPayload()?.network_interfaces).toEqual(['eth0']);
    expect(config.toMetricsPayload()?.properties).toEqual({ tenant: 'a' });
  });
});

describe('VMConfig.config', () => {
  test('spells out the machine', () => {
    expect(new VMConfig(minimalConfig()).config.machineConfig).toEqual({ vcpuCount: 1, memSizeMib: 256 });
    const half = new VMConfig({ ...minimalConfig(), machineConfig: { memSizeMib: 128, smt: false } });
    expect(half.config.machineConfig).toEqual({ vcpuCount: 1, memSizeMib: 128, smt: false });
  });

  test('takes an undefined part for an absent one', () => {
    const config = new VMConfig({ ...minimalConfig(), machineConfig: undefined, vsock: undefined } as never);
    expect(config.validate()).toEqual({ valid: true, errors: [] });
    expect(config.toVsockPayload()).toBeNull();
    expect(config.config.machineConfig).toEqual({ vcpuCount: 1, memSizeMib: 256 });
  });
});

describe('an invalid configuration', () => {
  const invalid = new VMConfig({ id: '../x', bootSource: {} } as never);
  const errors = [
    'id must be 1 to 64 letters, digits or hyphens, with a letter or digit first',
    'bootSource.kernelImagePath is required',
  ];

  test('is refused with all of its errors', () => {
    expect(invalid.validate()).toEqual({ valid: false, errors });
    expect(() => invalid.assertValid()).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', details: { errors }, message: expect.stringContaining('; ') }),
    );
  });

  test('gives no payload', () => {
    const payloads = [
      () => invalid.toBootSourcePayload(),
      () => invalid.toMachineConfigPayload(),
      () => invalid.toVsockPayload(),
      () => invalid.toBalloonPayload(),
      () => invalid.toMmdsConfigPayload(),
      () => invalid.toLoggerPayload(),
      () => invalid.toMetricsPayload(),
    ];
    for (const payload of payloads) {
      expect(payload).toThrow(SmartVMError);
    }
  });

  test('does not make a sound drive or interface unsound, nor the other way round', () => {
    expect(invalid.toDrivePayload({ driveId: 'd', pathOnHost: '/d' }).drive_id).toBe('d');
    const valid = new VMConfig(minimalConfig());
    valid.assertValid();
    expect(() => valid.toDrivePayload({ driveId: 'a-b' })).toThrow(
      expect.objectContaining({
        code: 'INVALID_CONFIG',
        details: {
          errors: [
            'drive.driveId must be 1 to 64 letters, digits or underscores',
            'drive.pathOnHost is required where there is no socket',
          ],
        },
      }),
    );
    expect(() => valid.toNetworkInterfacePayload(null as never)).toThrow(
      expect.objectContaining({ details: { errors: ['networkInterface must be an object'] } }),
    );
  });
});
