import { randomBytes } from 'node:crypto';
import { type Dirent, lstatSync, mkdirSync, opendirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { currentProcess, processIdentity } from '../../util/process-identity.js';
import { mountsBelow } from './mounts.js';

/**
 * Folders beside the VMs' on their way in (`new`) or out (`gone`). Their names say whose work they are: what a program that is
 * dead has left so is nobody's.
 */
type Passing = 'new' | 'gone';

const NAME = /^\.(?:new|gone)-(\d+)-(\d+)-[0-9a-f]+$/;

async function passingName(kind: Passing): Promise<string> {
  const { pid, startTime } = currentProcess();
  return `.${kind}-${pid}-${startTime}-${randomBytes(4).toString('hex')}`;
}

/** Makes an empty folder beside `path`, to become it when it is whole. */
export async function makePassingFolder(path: string): Promise<string> {
  const folder = join(dirname(path), await passingName('new'));
  mkdirSync(folder, { mode: 0o700 });
  return folder;
}

/**
 * Removes a directory whole: nobody sees a part of it under its name. Links in it are not followed, and where something is mounted in
 * it, it stays.
 * @param runtimeRoot what it is in, however deep: there whoever finds half of it knows that it is to go
 * @throws SmartVMError CLEANUP_FAILED
 */
export async function removeDirectory(path: string, runtimeRoot: string = dirname(path)): Promise<void> {
  await assertNotMounted(path);
  const gone = join(runtimeRoot, await passingName('gone'));
  try {
    renameSync(path, gone);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return;
    }
    throw error;
  }
  removeSmall(gone, 1);
  await rm(gone, { recursive: true, force: true });
}

/** To free more may take a file system its time, and what a guest has taken over may have made any number of files. */
const SMALL_BYTES = 1024 * 1024;
const FEW_ENTRIES = 64;

/**
 * Removes at once what is small, which is mostly all: a call to another thread for each file would take ten times as long. What it
 * can't, it leaves.
 * @param levels how deep it looks into folders
 */
function removeSmall(directory: string, levels: number): void {
  try {
    for (const entry of firstEntries(directory)) {
      const path = join(directory, entry.name);
      if (entry.isDirectory() && levels > 0) {
        removeSmall(path, levels - 1);
      } else if (!entry.isDirectory() && lstatSync(path).size <= SMALL_BYTES) {
        unlinkSync(path);
      }
    }
    rmdirSync(directory);
  } catch {
    // Something is left in it.
  }
}

function firstEntries(directory: string): Dirent[] {
  const entries: Dirent[] = [];
  const listing = opendirSync(directory);
  try {
    for (let entry = listing.readSync(); entry && entries.length < FEW_ENTRIES; entry = listing.readSync()) {
      entries.push(entry);
    }
  } finally {
    listing.closeSync();
  }
  return entries;
}

/** @throws SmartVMError CLEANUP_FAILED where something is mounted on a directory or in it */
export async function assertNotMounted(path: string): Promise<void> {
  const [mount] = await mountsBelow(path);
  if (mount !== undefined) {
    throw new SmartVMError('CLEANUP_FAILED', `${path} stays: something is mounted on ${mount}; unmount it`, {
      details: { path, mount },
    });
  }
}

/** Those in a runtime directory whose program has died. */
export async function abandonedFolders(runtimeRoot: string): Promise<string[]> {
  const names = await readdir(runtimeRoot).catch(() => []);
  const abandoned = await Promise.all(
    names.map(async (name) => ((await isAbandoned(name)) ? [join(runtimeRoot, name)] : [])),
  );
  return abandoned.flat();
}

async function isAbandoned(name: string): Promise<boolean> {
  const [, pid, startTime] = NAME.exec(basename(name)) ?? [];
  return pid !== undefined && (await processIdentity(Number(pid)))?.startTime !== startTime;
}
