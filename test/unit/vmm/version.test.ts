import { describe, expect, test } from 'vitest';
import { RESTORE_SINCE } from '../../../ts/config/restore.js';
import { CONFIG_SINCE, gatedFields } from '../../../ts/config/since.js';
import { FLAGS_SINCE } from '../../../ts/vmm/flags.js';
import { assertNewEnough } from '../../../ts/vmm/version.js';
import { fullConfig, minimalConfig } from '../config/samples.js';

const fieldsOf = (config: object) => gatedFields(CONFIG_SINCE, config).map(({ field }) => field);

describe('the fields that have a version', () => {
  test('are none of a configuration that any VMM takes', () => {
    expect(fieldsOf(minimalConfig())).toEqual([]);
  });

  test('are found wherever they are', () => {
    const found = new Set(fieldsOf(fullConfig()));
    // Values that the full configuration does not have are the only ones missing.
    expect(CONFIG_SINCE.filter(({ field }) => !found.has(field)).map(({ field }) => field)).toEqual([
      'machineConfig.cpuTemplate',
      'machineConfig.cpuTemplate',
      'machineConfig.cpuTemplate',
    ]);
  });

  test('are found in the second of a list', () => {
    expect(fieldsOf({ drives: [{}, { socket: '/s' }] })).toEqual(['drives[].socket']);
  });

  test('are told apart by value', () => {
    expect(gatedFields(CONFIG_SINCE, { machineConfig: { hugePages: 'Transparent' } })).toMatchObject([
      { version: '1.17' },
    ]);
    expect(gatedFields(CONFIG_SINCE, { machineConfig: { hugePages: '2M' } })).toMatchObject([{ version: '1.7' }]);
    expect(fieldsOf({ logger: { level: 'Info' } })).toEqual([]);
  });

  test.each([...CONFIG_SINCE, ...FLAGS_SINCE, ...RESTORE_SINCE])('$field has a version', ({ version }) => {
    expect(version).toMatch(/^1\.\d+$/);
  });
});

describe('assertNewEnough()', () => {
  const gates = gatedFields(CONFIG_SINCE, { serial: {}, networkInterfaces: [{ mtu: 1500 }] });

  test('names the fields and both versions', () => {
    expect(() => assertNewEnough(gates, '1.13.1')).toThrow(
      expect.objectContaining({
        code: 'VMM_TOO_OLD',
        message: expect.stringMatching(/version 1\.13\.1: .*mtu needs 1\.16 .*serial needs 1\.14/),
        details: {
          vmmVersion: '1.13.1',
          neededVersion: '1.16',
          fields: ['networkInterfaces[].mtu', 'serial'],
        },
      }),
    );
  });

  test('names those alone that the VMM lacks', () => {
    expect(() => assertNewEnough(gates, 'v1.14.0')).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ fields: ['networkInterfaces[].mtu'] }) }),
    );
  });

  test.each(['1.16.0', '1.16.0-dev', 'v1.17.0-dev', '2.0.0', '10.1.0', 'unknown', ''])('lets %j pass', (version) => {
    expect(() => assertNewEnough(gates, version)).not.toThrow();
  });

  test('takes 1.9 for older than 1.16', () => {
    expect(() => assertNewEnough(gates, '1.9.0')).toThrow();
  });
});
