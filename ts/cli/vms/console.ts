import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { getUnixStream } from '../../util/unix-stream.js';

export interface ConsoleOptions {
  /** Goes on with what comes, to the end of the VM. */
  readonly follow: boolean;
  /** Only the last lines of what is kept. */
  readonly tail: number | undefined;
  readonly signal: AbortSignal;
}

const LINE_FEED = 10;

/** The bytes of a VM's serial console: from its keeper while that lives, else from the files that it has left. */
export async function* consoleOf(runtimeDir: string, { follow, tail, signal }: ConsoleOptions): AsyncGenerator<Buffer> {
  const query = [...(follow ? ['follow=true'] : []), ...(tail === undefined ? [] : [`tail=${tail}`])].join('&');
  const socketPath = join(runtimeDir, 'keeper.sock');
  const response = await getUnixStream(socketPath, `/console?${query}`, signal).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT' && error.code !== 'ECONNREFUSED') {
        throw error;
      }
    },
  );
  if (response) {
    yield* response as AsyncIterable<Buffer>;
  } else {
    const bytes = Buffer.concat([await readLog(runtimeDir, 'console.log.1'), await readLog(runtimeDir, 'console.log')]);
    yield tail === undefined ? bytes : lastLines(bytes, tail);
  }
}

/** At most as much as the keeper keeps; nothing where there is no such file. */
async function readLog(runtimeDir: string, name: string): Promise<Buffer> {
  const file = await open(join(runtimeDir, name)).catch(() => undefined);
  try {
    return (await file?.readFile()) ?? Buffer.alloc(0);
  } finally {
    await file?.close();
  }
}

/** The last lines; one that has not ended is a line. */
export function lastLines(bytes: Buffer, count: number): Buffer {
  let start = bytes.length;
  for (let left = count; left > 0 && start > 0; left--) {
    const end = start - 1; // the line feed of the last line ends it and begins none
    start = end === 0 ? 0 : bytes.lastIndexOf(LINE_FEED, end - 1) + 1;
  }
  return bytes.subarray(start);
}
