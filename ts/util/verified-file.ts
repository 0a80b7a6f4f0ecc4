import { type BigIntStats, lstatSync } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { sha256File } from './file-hash.js';
import { FINGERPRINT_FIELDS, type Fingerprint, fingerprintOf } from './file-state.js';

export type { Fingerprint } from './file-state.js';

/** A file as it was when its bytes were last hashed. */
export interface FileRecord {
  readonly size: number;
  readonly sha256: string;
  readonly fingerprint: Fingerprint;
}

/** `trusted`: untouched since it was hashed. `rehashed`: touched, with the same bytes. `corrupt`: absent, not a file, or other bytes. */
export type FileVerdict = 'trusted' | 'rehashed' | 'corrupt';

/** The file's stat fingerprint; undefined when there is no such regular file (a link is not one). */
export async function fingerprint(path: string): Promise<Fingerprint | undefined> {
  return ofRegularFile(await lstat(path, { bigint: true }).catch(() => undefined));
}

/** As {@link fingerprint}, in a tenth of the time: for what every start of a VM waits for. */
export function fingerprintSync(path: string): Fingerprint | undefined {
  return ofRegularFile(lstatSync(path, { bigint: true, throwIfNoEntry: false }));
}

function ofRegularFile(stat: BigIntStats | undefined): Fingerprint | undefined {
  return stat?.isFile() ? fingerprintOf(stat) : undefined;
}

export function sameFingerprint(a: Fingerprint | undefined, b: Fingerprint | undefined): boolean {
  return a !== undefined && b !== undefined && FINGERPRINT_FIELDS.every((key) => a[key] === b[key]);
}

/** Hashes the file. The fingerprint is taken first: a write during the hashing makes the record worthless, not wrong. */
export async function recordFile(path: string): Promise<FileRecord> {
  const before = await fingerprint(path);
  if (!before) {
    throw new Error(`${path} is not a regular file`);
  }
  return { size: Number(before.size), sha256: await sha256File(path), fingerprint: before };
}

/** Whether a file still has the bytes of its record; it is only hashed when its fingerprint has changed. */
export async function verifyFile(path: string, record: FileRecord): Promise<FileVerdict> {
  const now = await fingerprint(path);
  if (!now || now.size !== String(record.size)) {
    return 'corrupt';
  }
  if (sameFingerprint(now, record.fingerprint)) {
    return 'trusted';
  }
  return (await sha256File(path)) === record.sha256 ? 'rehashed' : 'corrupt';
}

/** Writes a new file that nobody is to change again (0444), and brings it to the disk. */
export async function writeReadOnly(path: string, data: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o400);
  try {
    await file.writeFile(data);
    await file.chmod(0o444);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes a file that a tool wrote read-only (0444) and brings it to the disk. */
export async function sealFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.chmod(0o444);
    await file.sync();
  } finally {
    await file.close();
  }
}
