import { readFileSync } from 'node:fs';
import { DEFAULT_UID_RANGE, type JailLimits, type JailOptions } from '../ts/config/jail.js';
import { cgroupLimits, processLimits } from '../ts/vmm/jail/limits.js';

const MIB = 2 ** 20;
const DOCUMENT = new URL('../docs/jail.md', import.meta.url);
const TABLE = /(<!-- options -->\n)[\s\S]*?(\n<!-- \/options -->)/;

const count = (value: number) => value.toLocaleString('en-US');

/** What a VMM may take beside a guest of no memory, in MiB. */
function overheadMib(kind: 'firecracker' | 'qemu'): number {
  return Number(cgroupLimits(kind, { memSizeMib: 0, vcpuCount: 1 }, {}, [])[2].memory[0]?.[1]) / MIB;
}

type Row = readonly [byDefault: string, meaning: string];

function limitRows(): Readonly<Record<keyof JailLimits, Row>> {
  const { openFiles, fileSizeBytes } = processLimits({});
  const [, pids = ''] = cgroupLimits('qemu', { memSizeMib: 0, vcpuCount: 1 }, {}, [])[2].pids[0] ?? [];
  return {
    memoryOverheadMib: [
      `${overheadMib('firecracker')} (Firecracker), ${overheadMib('qemu')} (QEMU)`,
      'memory in MiB that the VMM may take beside its guest’s',
    ],
    cpuPercent: ['100 × (virtual CPUs + 1)', 'CPU time in percent of one CPU'],
    pids: [pids, 'processes and threads'],
    ioBytesPerSecond: ['no limit', 'bytes per second to, and from, each disk that holds a file of the VM'],
    ioOperationsPerSecond: ['no limit', 'operations per second, likewise'],
    openFiles: [count(openFiles), 'open files of each process'],
    fileSizeMib: [count(fileSizeBytes / MIB), 'largest file in MiB that the VMM may write'],
  };
}

function optionRows(): Readonly<Record<Exclude<keyof JailOptions, 'limits'>, Row>> {
  const { first, count: uids } = DEFAULT_UID_RANGE;
  return {
    jailerBinaryPath: ['the one beside Firecracker, else on PATH', 'its jailer, which must have Firecracker’s version'],
    uidRange: [
      `\`{ first: ${first}, count: ${uids} }\``,
      'where each VM gets a uid from, and the gid of the same number; systemd and distributions leave the default unused',
    ],
    cgroups: ["`'limited'`", "`'none'` leaves cgroups alone, on hosts that do not give them to SmartVM"],
  };
}

function table(): string {
  const limits = Object.entries(limitRows()).map(([name, row]) => [`limits.${name}`, ...row]);
  const rows = [...Object.entries(optionRows()).map(([name, row]) => [name, ...row]), ...limits].map(
    ([name, byDefault, meaning]) => `| \`${name}\` | ${byDefault} | ${meaning} |`,
  );
  return ['| `jail.` | Default | |', '| --- | --- | --- |', ...rows].join('\n');
}

/** docs/jail.md as it is, with the table of the options as the code has them. */
export function renderJail(): string {
  return readFileSync(DOCUMENT, 'utf8').replace(TABLE, (_, before, after) => `${before}${table()}${after}`);
}
