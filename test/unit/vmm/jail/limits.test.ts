import { stat } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { run } from '../../../../ts/util/run.js';
import { cgroupLimits, processLimits } from '../../../../ts/vmm/jail/limits.js';
import { scratchDirectory } from '../../../support/scratch.js';

const MIB = 2 ** 20;
const guest = { memSizeMib: 256, vcpuCount: 2 };

describe('cgroupLimits', () => {
  test('are the guest’s memory and CPUs and what its VMM takes beside them', () => {
    const { 1: v1, 2: v2 } = cgroupLimits('firecracker', guest, {}, []);
    expect(v2).toEqual({
      memory: [
        ['memory.max', String((256 + 128) * MIB)],
        ['memory.swap.max', '0'],
      ],
      cpu: [['cpu.max', '300000 100000']],
      pids: [['pids.max', '256']],
      io: [],
    });
    expect(v1).toEqual({
      memory: [['memory.limit_in_bytes', String((256 + 128) * MIB)]],
      cpu: [
        ['cpu.cfs_period_us', '100000'],
        ['cpu.cfs_quota_us', '300000'],
      ],
      pids: [['pids.max', '256']],
      io: [],
    });
  });

  test('give QEMU more', () => {
    expect(cgroupLimits('qemu', guest, {}, [])[2].memory[0]).toEqual(['memory.max', String((256 + 768) * MIB)]);
  });

  test('are those that were asked for', () => {
    const limits = { memoryOverheadMib: 10, cpuPercent: 50, pids: 20 };
    const { 2: v2 } = cgroupLimits('qemu', guest, limits, []);
    expect([v2.memory[0]?.[1], v2.cpu[0]?.[1], v2.pids[0]?.[1]]).toEqual([String(266 * MIB), '50000 100000', '20']);
  });

  test('leave a guest its memory whose size only its snapshot knows', () => {
    const { 1: v1, 2: v2 } = cgroupLimits('firecracker', { memSizeMib: undefined, vcpuCount: undefined }, {}, []);
    expect([v1.memory, v2.memory, v2.cpu]).toEqual([[], [], [['cpu.max', '3300000 100000']]]);
  });

  test('of I/O are for the disk of each path, once; also of a file that is yet to be made', async (context) => {
    await using scratch = await scratchDirectory();
    const disk = (await run('findmnt', ['-no', 'MAJ:MIN', '-T', scratch.path])).toString().trim();
    context.skip(
      await stat(`/sys/dev/block/${disk}/queue`).then(
        () => false,
        () => true,
      ),
      'no whole disk holds /tmp',
    );
    const paths = ['/proc/version', scratch.path, scratch.file('absent')].map(
      (path) => ({ path, access: 'create' }) as const,
    );
    const bytes = cgroupLimits('qemu', guest, { ioBytesPerSecond: 1000 }, paths);
    expect(bytes[2].io).toEqual([['io.max', `${disk} rbps=1000 wbps=1000`]]);
    expect(bytes[1].io).toEqual([
      ['blkio.throttle.read_bps_device', `${disk} 1000`],
      ['blkio.throttle.write_bps_device', `${disk} 1000`],
    ]);
    const operations = cgroupLimits('qemu', guest, { ioOperationsPerSecond: 7 }, paths);
    expect(operations[2].io).toEqual([['io.max', `${disk} riops=7 wiops=7`]]);
    expect(operations[1].io[1]).toEqual(['blkio.throttle.write_iops_device', `${disk} 7`]);
  });
});

test('processLimits are 4,096 files and a tebibyte', () => {
  expect(processLimits({})).toEqual({ openFiles: 4096, fileSizeBytes: 2 ** 40 });
  expect(processLimits({ openFiles: 64, fileSizeMib: 1 })).toEqual({ openFiles: 64, fileSizeBytes: MIB });
});
