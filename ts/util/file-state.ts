import { type BigIntStats, statSync } from 'node:fs';

/** What `stat` says of a file that nobody has touched. Any write, chmod, rename over it or copy changes one of them. */
export const FINGERPRINT_FIELDS = ['dev', 'ino', 'size', 'mtimeNs', 'ctimeNs'] as const;

export type Fingerprint = Readonly<Record<(typeof FINGERPRINT_FIELDS)[number], string>>;

export function fingerprintOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): Fingerprint {
  return { dev: `${dev}`, ino: `${ino}`, size: `${size}`, mtimeNs: `${mtimeNs}`, ctimeNs: `${ctimeNs}` };
}

/** The fingerprint of what a path leads to, as a key; undefined when there is no such file. For what is asked of a file once. */
export function fileState(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && Object.values(fingerprintOf(stat)).join(':');
}
