import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { currentBootId, currentProcess, isActiveSync } from './process-identity.js';

const NAME = /\.(\d+)-(\d+)-([0-9a-f]{8})-[0-9a-f]{8}\.tmp$/;
const BOOT_DIGITS = 8;

/** A file that a program was writing when it died. */
export interface LeftFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** Where the next content of `path` is written to before it takes its place. The name says whose it is. */
export function temporaryFor(path: string): string {
  const { pid, startTime, bootId } = currentProcess();
  return `${path}.${pid}-${startTime}-${bootId.slice(0, BOOT_DIGITS)}-${randomBytes(4).toString('hex')}.tmp`;
}

/** Removes the files of {@link temporaryFor} in a directory whose writers are dead. Nothing else is touched. */
export async function sweepTemporaries(directory: string, dryRun = false): Promise<LeftFile[]> {
  const left: LeftFile[] = [];
  for (const name of namesIn(directory)) {
    if (isOfTheDead(name)) {
      const path = join(directory, name);
      const sizeBytes = (await stat(path).catch(() => undefined))?.size ?? 0;
      dryRun || rmSync(path, { force: true });
      left.push({ path, sizeBytes });
    }
  }
  return left;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // it was never made
  }
}

function isOfTheDead(name: string): boolean {
  const [, pid, startTime = '', boot = ''] = NAME.exec(name) ?? [];
  const bootId = currentBootId();
  return (
    pid !== undefined && !(bootId.startsWith(boot) && isActiveSync({ pid: Number(pid), startTime, bootId }, bootId))
  );
}
