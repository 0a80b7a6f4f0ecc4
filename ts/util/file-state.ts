import { statSync } from 'node:fs';

/** Other after every write, rename over it and chmod; undefined when there is no such file. For what is asked of a file once. */
export function fileState(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(':');
}
