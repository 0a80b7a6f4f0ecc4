/** A fault of certain versions of a program that whoever runs guests has to know of. */
export interface Advisory {
  /** The CVE, or a name where there is none. */
  readonly id: string;
  readonly program: 'firecracker' | 'jailer';
  /** The versions that have it, for a reader. */
  readonly affects: string;
  /** It matters only where this is used: the option `--enable-pci`, or starts from snapshots. Absent: always. */
  readonly when?: 'enablePci' | 'restore';
  readonly remedy: string;
}

/** From the first of these versions to the last, both included. */
type Range = readonly [first: string, last: string];

/** Sources: the project's security advisories, and for 1.16.0 the changelog of 1.16.1. */
const KNOWN: readonly (Advisory & { readonly ranges: readonly Range[] })[] = [
  {
    id: 'CVE-2026-1386',
    program: 'jailer',
    affects: '1.13.1 and older, 1.14.0',
    remedy: 'the jailer follows a link that a local user put into the chroot; use 1.13.2, or 1.14.1 or newer',
    ranges: [
      ['0.0.0', '1.13.1'],
      ['1.14.0', '1.14.0'],
    ],
  },
  {
    id: 'CVE-2026-5747',
    program: 'firecracker',
    affects: '1.13.0 to 1.14.3, 1.15.0',
    when: 'enablePci',
    remedy: 'a guest can write beyond the memory of virtio-pci; use 1.14.4, or 1.15.1 or newer, or no enablePci',
    ranges: [
      ['1.13.0', '1.14.3'],
      ['1.15.0', '1.15.0'],
    ],
  },
  {
    id: 'vsock-after-restore',
    program: 'firecracker',
    affects: '1.16.0',
    when: 'restore',
    remedy: 'vsock is dead in a VM that was started from a snapshot; use 1.16.1 or newer',
    ranges: [['1.16.0', '1.16.0']],
  },
];

/**
 * The known faults of a version, such as `1.14.0` or `v1.14.0`. A development version counts as the release that it leads to; of what
 * is no number of three parts nothing is known, and the answer is empty.
 */
export function advisoriesFor(program: Advisory['program'], version: string): readonly Advisory[] {
  const numbers = numbersOf(version);
  if (numbers === undefined) {
    return [];
  }
  return KNOWN.filter((entry) => entry.program === program && entry.ranges.some((range) => within(numbers, range))).map(
    ({ ranges: _ranges, ...advisory }) => advisory,
  );
}

type Numbers = readonly [number, number, number];

function within(version: Numbers, [first, last]: Range): boolean {
  const [from, to] = [numbersOf(first), numbersOf(last)];
  return from !== undefined && to !== undefined && compare(from, version) <= 0 && compare(version, to) <= 0;
}

function compare(a: Numbers, b: Numbers): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

function numbersOf(version: string): Numbers | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(?![\d.])/.exec(version);
  return match ? [Number(match[1]), Number(match[2]), Number(match[3])] : undefined;
}
