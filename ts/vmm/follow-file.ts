import { type FileHandle, open, stat } from 'node:fs/promises';
import { delay } from '../util/deadline.js';
import { LineSplitter } from '../util/line-splitter.js';

const POLL_MS = 100;
const CHUNK_BYTES = 64 * 1024;

export interface FollowOptions {
  /** Whether nothing more will be written. */
  ended: () => boolean;
  signal?: AbortSignal | undefined;
}

/**
 * Lines of a file from its start, then as they are written, until its writer has ended or the signal aborts; when the file
 * is rotated, of the one that takes its place. It reads as fast as it is read, and holds nothing of the file.
 */
export async function* followFile(path: string, options: FollowOptions): AsyncGenerator<string, void, undefined> {
  const splitter = new LineSplitter();
  let file = await openWhenThere(path, options);
  try {
    // `last`: once more to the end after the writer has ended, for what it wrote in between.
    for (let last = false; file; ) {
      let bytes = 0;
      do {
        const { buffer, bytesRead }: { buffer: Buffer; bytesRead: number } = await file.read(Buffer.alloc(CHUNK_BYTES));
        yield* splitter.push(buffer.subarray(0, bytesRead));
        bytes = bytesRead;
      } while (bytes > 0 && !options.signal?.aborted);
      if (last || options.signal?.aborted) {
        yield* splitter.end();
        return;
      }
      const rotated = await isAnother(path, file);
      if (rotated) {
        await file.close();
        file = await openWhenThere(path, options);
      } else {
        last = options.ended();
        await delay(last ? 0 : POLL_MS, options.signal);
      }
    }
  } finally {
    await file?.close();
  }
}

/** Whether a path leads to another file by now. One that is gone does not. */
async function isAnother(path: string, file: FileHandle): Promise<boolean> {
  const [there, here] = await Promise.all([stat(path).catch(() => undefined), file.stat()]);
  return there !== undefined && there.ino !== here.ino;
}

async function openWhenThere(path: string, { ended, signal }: FollowOptions): Promise<FileHandle | undefined> {
  for (;;) {
    const over = ended() || signal?.aborted === true;
    const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') {
        throw error;
      }
    });
    if (file || over) {
      return file ?? undefined;
    }
    await delay(POLL_MS, signal);
  }
}
