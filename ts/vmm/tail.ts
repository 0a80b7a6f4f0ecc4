import { open } from 'node:fs/promises';

/** The last lines of a file, read from its end; an absent file has none. */
export async function tailLines(path: string, lines: number, maxBytes = 32 * 1024): Promise<string[]> {
  const file = await open(path, 'r').catch(() => undefined);
  if (!file) {
    return [];
  }
  try {
    const { size } = await file.stat();
    const length = Math.min(size, maxBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const text = buffer.subarray(0, bytesRead).toString('utf8').replaceAll('\r', '').trimEnd();
    return text === '' || lines <= 0 ? [] : text.split('\n').slice(-lines);
  } finally {
    await file.close();
  }
}
