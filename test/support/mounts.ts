import { mkdir } from 'node:fs/promises';
import { run } from '../../ts/util/run.js';

export interface Mounted extends AsyncDisposable {
  readonly path: string;
}

/** A file system in memory of a size such as `64m`; for root. */
export async function mountTmpfs(path: string, size: string): Promise<Mounted> {
  await mkdir(path);
  await run('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', path]);
  return mounted(path);
}

/** A new file system of a kind whose files can share blocks; for root, where there is its mkfs. */
export async function mountReflinking(image: string, path: string): Promise<Mounted> {
  await mkdir(path);
  await run('truncate', ['--size=400M', image]);
  await run('mkfs.xfs', ['-q', '-m', 'reflink=1', image]);
  await run('mount', ['-o', 'loop', image, path]);
  return mounted(path);
}

function mounted(path: string): Mounted {
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      await run('umount', [path]);
    },
  };
}
