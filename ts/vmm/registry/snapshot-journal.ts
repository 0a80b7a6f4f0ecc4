import { readdir, readlink, symlink, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { syncDirectory } from '../../util/atomic-file.js';
import type { FolderJournal } from '../snapshot-output.js';

/** Folders that `createSnapshot()` makes beside the places of its files. */
const SNAPSHOT_FOLDER = /^\.smartvm-[0-9a-f-]{36}$/;

/**
 * The folders in which a VM writes snapshots, each as a link in the VM's directory that has its name and says where it is. They are
 * no part of the record, which one program writes: every program that has attached to the VM can take snapshots of it, at once.
 */
export function snapshotJournal(runtimeDir: string): FolderJournal {
  const entryOf = (folder: string) => join(runtimeDir, basename(folder));
  return {
    make: async (folder) => {
      await symlink(folder, entryOf(folder)); // whole or not at all
      await syncDirectory(runtimeDir);
    },
    removed: (folder) => unlink(entryOf(folder)),
  };
}

/** Those that are written down for a VM. What is no folder of a snapshot by its name is not among them. */
export async function journaledFolders(runtimeDir: string): Promise<string[]> {
  const names = (await readdir(runtimeDir).catch(() => [])).filter((name) => SNAPSHOT_FOLDER.test(name));
  const targets = await Promise.all(names.map((name) => readlink(join(runtimeDir, name)).catch(() => '')));
  return targets.filter((target, index) => target.startsWith('/') && basename(target) === names[index]);
}
