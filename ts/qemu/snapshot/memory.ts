import { type FileHandle, open, readdir, readFile, readlink } from 'node:fs/promises';

const CHUNK_BYTES = 4 * 2 ** 20;
/** What is left out when it is all zero: as large as a block of most file systems. */
const HOLE_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(HOLE_BYTES);

/** Where a QEMU process keeps its guest's memory, to be read or written from outside. */
export interface GuestMemory {
  readonly path: string;
  readonly offset: number;
}

/** The memory of a machine that booted: a memfd, as the kernel shows it. */
export async function findMemfd(pid: number): Promise<GuestMemory> {
  const folder = `/proc/${pid}/fd`;
  for (const name of await readdir(folder)) {
    const target = await readlink(`${folder}/${name}`).catch(() => '');
    if (target.startsWith('/memfd:')) {
      return { path: `${folder}/${name}`, offset: 0 };
    }
  }
  throw new Error(`QEMU (process ${pid}) has no memfd with its guest's memory`);
}

/** The memory of a machine that was loaded from a snapshot: a private mapping of the file with this number, and what the guest has written since. */
export async function findPrivateMapping(pid: number, inode: number): Promise<GuestMemory> {
  const maps = await readFile(`/proc/${pid}/maps`, 'latin1');
  for (const line of maps.split('\n')) {
    const [range = '', , offset, , number] = line.split(/\s+/);
    if (Number(number) === inode && Number.parseInt(offset ?? '', 16) === 0) {
      return { path: `/proc/${pid}/mem`, offset: Number.parseInt(range.split('-')[0] ?? '', 16) };
    }
  }
  throw new Error(`QEMU (process ${pid}) does not map the memory of the snapshot it was loaded from`);
}

/**
 * Copies a stretch of memory.
 * @param holes whether the target reads as zeros already, so that zeros need not be written
 */
export async function copyMemory(
  source: GuestMemory,
  target: FileHandle,
  sizeBytes: number,
  holes: boolean,
): Promise<void> {
  const file = await open(source.path, 'r');
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  try {
    for (let done = 0; done < sizeBytes; ) {
      const length = Math.min(CHUNK_BYTES, sizeBytes - done);
      const { bytesRead } = await file.read(buffer, 0, length, source.offset + done);
      if (bytesRead === 0) {
        throw new Error(`${source.path} ended after ${done} of ${sizeBytes} bytes`);
      }
      await writePieces(target, buffer.subarray(0, bytesRead), done, holes);
      done += bytesRead;
    }
  } finally {
    await file.close();
  }
}

async function writePieces(target: FileHandle, chunk: Buffer, position: number, holes: boolean): Promise<void> {
  if (!holes) {
    await writeAll(target, chunk, position);
    return;
  }
  let start = 0;
  while (start < chunk.length) {
    const end = endOfRun(chunk, start);
    if (!isZero(chunk, start)) {
      await writeAll(target, chunk.subarray(start, end), position + start);
    }
    start = end;
  }
}

/** Where the pieces that are zero, or are not, as the first is, end. */
function endOfRun(chunk: Buffer, start: number): number {
  const zero = isZero(chunk, start);
  let end = start + HOLE_BYTES;
  while (end < chunk.length && isZero(chunk, end) === zero) {
    end += HOLE_BYTES;
  }
  return Math.min(end, chunk.length);
}

function isZero(chunk: Buffer, start: number): boolean {
  const end = Math.min(start + HOLE_BYTES, chunk.length);
  return chunk.compare(ZEROS, 0, end - start, start, end) === 0;
}

async function writeAll(target: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await target.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
