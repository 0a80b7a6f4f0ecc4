import { type FileHandle, open } from 'node:fs/promises';
import { run } from '../util/run.js';

/** A part of a file that has data, in bytes; between such parts are holes. */
export interface DataRange {
  readonly offset: number;
  readonly length: number;
}

/** In more data than this, or in more parts, a program that copies sparse files is no slower. */
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_RANGES = 64;
/** Of filefrag's answer; what the file system calls a block does not matter. */
const UNIT = 1024;
const EXTENT = /^ *\d+: +(\d+)\.\. *\d+: +\d+\.\. *\d+: +(\d+):/gm;

/**
 * Where a file has data, as its file system says. The file has been brought to the disk.
 * @returns undefined where the file system does not say (tmpfs), the tool is not there, or there is much data
 */
export async function dataRanges(path: string): Promise<readonly DataRange[] | undefined> {
  const listing = await run('filefrag', ['-v', `-b${UNIT}`, '--', path]).then(String, () => '');
  const ranges = [...listing.matchAll(EXTENT)].map(([, start, length]) => ({
    offset: Number(start) * UNIT,
    length: Number(length) * UNIT,
  }));
  const bytes = ranges.reduce((sum, { length }) => sum + length, 0);
  return bytes > 0 && bytes <= MAX_BYTES && ranges.length <= MAX_RANGES ? ranges : undefined;
}

/**
 * Writes those parts of a file to another, which is empty, and gives that the same size. No program is started, which would take
 * longer than all of it. @throws a system error
 */
export async function copyRanges(from: string, to: string, ranges: readonly DataRange[]): Promise<void> {
  await using source = await open(from, 'r');
  await using target = await open(to, 'r+');
  await target.truncate((await source.stat()).size);
  await Promise.all(ranges.map((range) => copyRange(source, target, range)));
}

async function copyRange(source: FileHandle, target: FileHandle, { offset, length }: DataRange): Promise<void> {
  const data = Buffer.allocUnsafe(length);
  const { bytesRead } = await source.read(data, 0, length, offset);
  for (let done = 0; done < bytesRead; ) {
    done += (await target.write(data, done, bytesRead - done, offset + done)).bytesWritten;
  }
}
