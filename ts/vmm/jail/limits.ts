import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { HostPath } from '../../config/host-paths.js';
import type { JailLimits } from '../../config/jail.js';
import type { VmmKind } from '../find.js';
import type { GuestSize } from '../guest-size.js';

type Files = readonly (readonly [file: string, value: string])[];
type ByController = Readonly<Record<'memory' | 'cpu' | 'pids' | 'io', Files>>;

/** What is written into the files of a VM's cgroups, by the version of the hierarchy. */
export interface CgroupLimits {
  readonly 1: ByController;
  readonly 2: ByController;
}

/**
 * Memory in MiB that each VMM may take beside its guest's: Firecracker a few, and what the kernel keeps for it; QEMU the code that it has
 * translated (its `tb-size`), and Node.
 */
const OVERHEAD_MIB: Readonly<Record<VmmKind, number>> = { firecracker: 128, qemu: 768 };
/** Of a guest whose snapshot alone knows. */
const MAX_VCPUS = 32;
const PIDS = 256;
const OPEN_FILES = 4096;
const FILE_SIZE_MIB = 1024 * 1024;
const MIB = 2 ** 20;
const CPU_PERIOD_US = 100_000;

/** @param paths what the VM opens: the disks under it have the limits of its I/O */
export function cgroupLimits(
  kind: VmmKind,
  guest: GuestSize,
  limits: JailLimits,
  paths: readonly HostPath[],
): CgroupLimits {
  const pids = String(limits.pids ?? PIDS);
  const cpuPercent = limits.cpuPercent ?? ((guest.vcpuCount ?? MAX_VCPUS) + 1) * 100;
  const quotaUs = Math.round((cpuPercent * CPU_PERIOD_US) / 100);
  const memory =
    guest.memSizeMib === undefined
      ? undefined
      : String((guest.memSizeMib + (limits.memoryOverheadMib ?? OVERHEAD_MIB[kind])) * MIB);
  const disks = limits.ioBytesPerSecond || limits.ioOperationsPerSecond ? disksOf(paths) : [];
  return {
    1: {
      memory: memory === undefined ? [] : [['memory.limit_in_bytes', memory]],
      cpu: [
        ['cpu.cfs_period_us', String(CPU_PERIOD_US)],
        ['cpu.cfs_quota_us', String(quotaUs)],
      ],
      pids: [['pids.max', pids]],
      io: disks.flatMap((disk) => throttles(disk, limits)),
    },
    2: {
      // A guest's memory on the host's swap disk would outlive it there.
      memory: memory === undefined ? [] : [['memory.max', memory], ...SWAP_OFF],
      cpu: [['cpu.max', `${quotaUs} ${CPU_PERIOD_US}`]],
      pids: [['pids.max', pids]],
      io: disks.map((disk) => ['io.max', ioMax(disk, limits)] as const),
    },
  };
}

const SWAP_OFF: Files = [['memory.swap.max', '0']];

/** Limits that a process has of its own, not its cgroup. */
export function processLimits(limits: JailLimits): { openFiles: number; fileSizeBytes: number } {
  return {
    openFiles: limits.openFiles ?? OPEN_FILES,
    fileSizeBytes: (limits.fileSizeMib ?? FILE_SIZE_MIB) * MIB,
  };
}

/** `major:minor` of each disk that holds one of the files; a file system without a disk has major number 0. */
function disksOf(paths: readonly HostPath[]): string[] {
  const numbers = paths.flatMap(({ path }) => {
    const stat = statSync(path, { throwIfNoEntry: false }) ?? statSync(dirname(path), { throwIfNoEntry: false });
    return stat && majorOf(stat.dev) !== 0 ? [wholeDisk(`${majorOf(stat.dev)}:${minorOf(stat.dev)}`)] : [];
  });
  return [...new Set(numbers)];
}

/** Of a partition, the disk that it is on: the kernel takes limits for whole disks. */
function wholeDisk(numbers: string): string {
  const folder = `/sys/dev/block/${numbers}`;
  return existsSync(`${folder}/partition`) ? readFileSync(`${folder}/../dev`, 'utf8').trim() : numbers;
}

/** makedev(3) as Linux has it, for the numbers that disks have. */
const majorOf = (device: number) => (device >>> 8) & 0xfff;
const minorOf = (device: number) => (device & 0xff) | ((device >>> 12) & 0xfff00);

function throttles(disk: string, { ioBytesPerSecond, ioOperationsPerSecond }: JailLimits): Files {
  const both = (unit: 'bps' | 'iops', value: number | undefined): Files =>
    value === undefined
      ? []
      : [
          [`blkio.throttle.read_${unit}_device`, `${disk} ${value}`],
          [`blkio.throttle.write_${unit}_device`, `${disk} ${value}`],
        ];
  return [...both('bps', ioBytesPerSecond), ...both('iops', ioOperationsPerSecond)];
}

function ioMax(disk: string, { ioBytesPerSecond, ioOperationsPerSecond }: JailLimits): string {
  const bytes = ioBytesPerSecond === undefined ? '' : ` rbps=${ioBytesPerSecond} wbps=${ioBytesPerSecond}`;
  const operations =
    ioOperationsPerSecond === undefined ? '' : ` riops=${ioOperationsPerSecond} wiops=${ioOperationsPerSecond}`;
  return `${disk}${bytes}${operations}`;
}
