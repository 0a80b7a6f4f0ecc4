import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory of a test's own, removed with everything in it when the test ends: `await using scratch = await scratchDirectory()`. */
export interface ScratchDirectory extends AsyncDisposable {
  readonly path: string;
  /** The path of a file in it. */
  file(...names: string[]): string;
}

export async function scratchDirectory(): Promise<ScratchDirectory> {
  const path = await mkdtemp(join(tmpdir(), 'smartvm-test-'));
  return {
    path,
    file: (...names) => join(path, ...names),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}
