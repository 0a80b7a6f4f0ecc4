import { existsSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readExit } from '../exit.js';
import { vmmFolder } from '../vm-folder.js';
import { assertNotMounted, removeDirectory } from './passing-folder.js';
import type { RecordEntry } from './scan.js';

/** What is read of a VM that has ended: small files, all of them bounded. */
const KEPT: readonly string[] = [
  ...['vm.json', 'state.json', 'exit.json', 'timings.json'],
  ...['console.log', 'console.log.1', 'vmm.log', 'vmm.log.1'],
];

/**
 * Whether a dead VM stays to be read until somebody removes it: one that outlived its program, and has ended by itself, at the end of
 * its time or by a crash. One that was stopped is gone.
 */
export async function staysExited({ runtimeDir, record }: RecordEntry): Promise<boolean> {
  return record.detached && !record.removeOnExit && (await readExit(runtimeDir)).reason !== 'stopped';
}

/** Whether all that a dead VM had has been given back but what is read of it: this goes last. No VM that lives is without it. */
export function hasGivenBack(runtimeDir: string): boolean {
  return !existsSync(vmmFolder(runtimeDir));
}

/** Removes all from the directory of a dead VM but what is read of it. @throws SmartVMError CLEANUP_FAILED */
export async function giveBackFiles(runtimeDir: string): Promise<void> {
  await assertNotMounted(runtimeDir);
  const folder = vmmFolder(runtimeDir);
  const names = (await readdir(runtimeDir)).filter((name) => !KEPT.includes(name) && join(runtimeDir, name) !== folder);
  await Promise.all(names.map((name) => rm(join(runtimeDir, name), { recursive: true, force: true })));
  await removeDirectory(folder, dirname(runtimeDir));
}

/** Milliseconds since the epoch at which an exited VM ended, or was found so where nobody had seen it. */
export async function endedAt({ runtimeDir }: Pick<RecordEntry, 'runtimeDir'>): Promise<number> {
  const { exitedAt } = await readExit(runtimeDir);
  return exitedAt === null ? (await stat(runtimeDir)).mtimeMs : Date.parse(exitedAt);
}

/** Of those of which nothing is left but what is read of them, all but those that ended last. */
export async function oldestExited(entries: readonly RecordEntry[], kept: number): Promise<RecordEntry[]> {
  const exited = entries.filter(({ runtimeDir }) => hasGivenBack(runtimeDir));
  if (exited.length <= kept) {
    return [];
  }
  // One that somebody removes meanwhile is none to remove.
  const dated = exited.map(async (entry) => ({
    entry,
    ended: await endedAt(entry).catch(() => Number.POSITIVE_INFINITY),
  }));
  const newestFirst = (await Promise.all(dated)).sort((a, b) => b.ended - a.ended);
  return newestFirst.slice(kept).map(({ entry }) => entry);
}
