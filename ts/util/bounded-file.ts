import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/**
 * Opens a regular file for reading and hands it over. Never waits: opening a FIFO without a writer would.
 * @param followLink whether the last part of the path may be a symbolic link
 * @throws Error when it is not a regular file or has more than `maxBytes`; system errors as they are
 */
export async function withBoundedFile<T>(
  path: string,
  { maxBytes, followLink }: { maxBytes: number; followLink: boolean },
  use: (file: FileHandle, size: number) => Promise<T>,
): Promise<T> {
  const file = await open(path, flagsFor(followLink)).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ELOOP' ? new Error(`${path} is a symbolic link, which is not followed`) : error;
  });
  try {
    const stat = await file.stat();
    if (!stat.isFile()) {
      throw new Error(`${path} is not a regular file`);
    }
    if (stat.size > maxBytes) {
      throw new Error(`${path} has ${stat.size} bytes, which is over the limit of ${maxBytes}`);
    }
    return await use(file, stat.size);
  } finally {
    await file.close();
  }
}

/** As {@link readBoundedText}, without a trip to another thread for each step: for what every start of a VM waits for. */
export function readBoundedTextSync(path: string, maxBytes: number, followLink = true): string {
  const file = openSync(path, flagsFor(followLink));
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) {
      throw new Error(`${path} is not a regular file`);
    }
    const buffer = Buffer.alloc(Math.min(stat.size, maxBytes) + 1);
    const length = readSync(file, buffer, 0, buffer.length, 0);
    if (stat.size > maxBytes || length > stat.size) {
      throw new Error(`${path} has more than ${maxBytes} bytes, which is the limit, or grows while it is read`);
    }
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(file);
  }
}

function flagsFor(followLink: boolean): number {
  return constants.O_RDONLY | constants.O_NONBLOCK | (followLink ? 0 : constants.O_NOFOLLOW);
}

/** The text of a small regular file, under the rules of {@link withBoundedFile}. */
export async function readBoundedText(path: string, maxBytes: number, followLink = true): Promise<string> {
  return await withBoundedFile(path, { maxBytes, followLink }, async (file) => {
    const buffer = Buffer.alloc(maxBytes + 1);
    let length = 0;
    // A file that grows meanwhile is still bounded: one byte over the limit is enough to know.
    for (let bytes = 1; bytes > 0 && length <= maxBytes; length += bytes) {
      ({ bytesRead: bytes } = await file.read(buffer, length, buffer.length - length));
    }
    if (length > maxBytes) {
      throw new Error(`${path} is over the limit of ${maxBytes} bytes`);
    }
    return buffer.toString('utf8', 0, length);
  });
}
