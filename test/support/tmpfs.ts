import { mkdir } from 'node:fs/promises';
import { run } from '../../ts/util/run.js';

/** A file system of a test's own, which can be full or read-only. Takes root. */
export interface Tmpfs extends AsyncDisposable {
  /** Mounts it anew with these options of tmpfs(5), what is in it as it is. */
  remount(options: string): Promise<void>;
  /** Whoever has a file open in it can go on writing; nobody else can. */
  setReadOnly(isReadOnly: boolean): Promise<void>;
}

export async function mountTmpfs(path: string): Promise<Tmpfs> {
  await mkdir(path, { recursive: true });
  await run('mount', ['-t', 'tmpfs', '-o', 'mode=0700,size=16m', 'tmpfs', path]);
  return {
    remount: async (options) => void (await run('mount', ['-o', `remount,${options}`, path])),
    setReadOnly: async (isReadOnly) =>
      void (await run('mount', ['-o', `remount,bind,${isReadOnly ? 'ro' : 'rw'}`, path])),
    [Symbol.asyncDispose]: async () => void (await run('umount', [path])),
  };
}
