import { describe, expect, test } from 'vitest';
import { configPaths, restorePaths } from '../../../ts/config/host-paths.js';

const drive = { isRootDevice: false };

describe('configPaths', () => {
  test('has every path of a configuration, with what the VMM does there', () => {
    const paths = configPaths({
      bootSource: { kernelImagePath: '/k', initrdPath: '/i' },
      drives: [
        { ...drive, driveId: 'a', pathOnHost: '/base', isReadOnly: true },
        { ...drive, driveId: 'b', pathOnHost: '/data', isReadOnly: false },
        { ...drive, driveId: 'c', pathOnHost: '/default' },
        { ...drive, driveId: 'd', socket: '/vhost.sock' },
      ],
      pmem: [
        { id: 'p', pathOnHost: '/pmem', isReadOnly: true },
        { id: 'q', pathOnHost: '/pmem-rw' },
      ],
      vsock: { guestCid: 3, udsPath: '/vsock/v.sock' },
      serial: { serialOutPath: '/serial' },
      logger: { logPath: '/log' },
      metrics: { metricsPath: '/metrics' },
    });
    expect(paths.map(({ path, access }) => `${access} ${path}`)).toEqual([
      'read /k',
      'read /i',
      'read /base',
      'write /data',
      'write /default',
      'write /vhost.sock',
      'read /pmem',
      'write /pmem-rw',
      'socket /vsock/v.sock',
      'create /serial',
      'create /log',
      'create /metrics',
    ]);
  });

  test('has none for what is not there', () => {
    expect(configPaths({})).toEqual([]);
    expect(configPaths({ bootSource: { kernelImagePath: '/k' }, logger: {}, metrics: {} })).toEqual([
      { path: '/k', access: 'read' },
    ]);
  });
});

describe('restorePaths', () => {
  test('has the files of the snapshot, read-only, and the devices that it names', () => {
    expect(
      restorePaths({
        snapshotPath: '/state',
        memBackend: { backendType: 'File', backendPath: '/memory' },
        vsockOverride: { udsPath: '/run/v.sock' },
        devicePaths: [{ path: '/data', access: 'write' }],
      }),
    ).toEqual([
      { path: '/state', access: 'read' },
      { path: '/memory', access: 'read' },
      { path: '/run/v.sock', access: 'socket' },
      { path: '/data', access: 'write' },
    ]);
  });

  test('connects to a page fault handler', () => {
    const memBackend = { backendType: 'Uffd' as const, backendPath: '/uffd.sock' };
    expect(restorePaths({ snapshotPath: '/state', memBackend })).toContainEqual({
      path: '/uffd.sock',
      access: 'write',
    });
  });
});
