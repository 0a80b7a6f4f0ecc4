import { describe, expect, test } from 'vitest';
import { assertVmmFlags, type VmmFlags, vmmArguments } from '../../../ts/vmm/flags.js';

const ALL: Required<VmmFlags> = {
  httpApiMaxPayloadSizeBytes: 100_000,
  mmdsSizeLimitBytes: 90_000,
  seccompFilterPath: '/f.bpf',
  noSeccomp: false,
  bootTimer: true,
  enablePci: true,
  metadataPath: '/m.json',
  logPath: '/l',
  level: 'Debug',
  module: 'api_server',
  showLevel: true,
  showLogOrigin: true,
};

describe('vmmArguments()', () => {
  test('has an argument for each flag', () => {
    expect(vmmArguments(ALL, false).join(' ')).toBe(
      '--log-path /l --level Debug --http-api-max-payload-size 100000 --mmds-size-limit 90000 --seccomp-filter /f.bpf ' +
        '--boot-timer --enable-pci --metadata /m.json --module api_server --show-level --show-log-origin',
    );
  });

  test('keeps the log off the console unless the API will set up a logger', () => {
    expect(vmmArguments({}, false)).toEqual(['--log-path', '/dev/stderr', '--level', 'Warning']);
    expect(vmmArguments({}, true)).toEqual([]);
  });

  test('leaves out what is undefined', () => {
    expect(vmmArguments({ level: undefined } as never, true)).toEqual([]);
  });
});

describe('assertVmmFlags()', () => {
  test('accepts them all', () => {
    expect(() => assertVmmFlags(ALL)).not.toThrow();
  });

  test.each([
    [
      { seccompFilterPath: '/f', noSeccomp: true },
      'vmmFlags.noSeccomp must be absent where there is a seccompFilterPath',
    ],
    [{ httpApiMaxPayloadSizeBytes: 0 }, 'vmmFlags.httpApiMaxPayloadSizeBytes must be >= 1'],
    [{ level: 'Nope' }, 'vmmFlags.level must be one of Error, Warning, Info, Debug, Trace, Off'],
    [{ bootTime: true }, expect.stringContaining('vmmFlags.bootTime is not a field')],
  ])('refuses %j', (flags, error) => {
    expect(() => assertVmmFlags(flags as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { errors: [error] } }),
    );
  });
});
