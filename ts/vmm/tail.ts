import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** The last lines of a file, read from its end; an absent file has none. So little is read at once, without another thread. */
export async function tailLines(path: string, lines: number, maxBytes = 32 * 1024): Promise<string[]> {
  const text = tailOf(path, maxBytes)?.toString('utf8').replaceAll('\r', '').trimEnd() ?? '';
  return text === '' || lines <= 0 ? [] : text.split('\n').slice(-lines);
}

function tailOf(path: string, maxBytes: number): Buffer | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    const { size } = fstatSync(file);
    const buffer = Buffer.alloc(Math.min(size, maxBytes));
    return buffer.subarray(0, readSync(file, buffer, 0, buffer.length, size - buffer.length));
  } finally {
    closeSync(file);
  }
}
