import { open } from 'node:fs/promises';

// The guest has written this file system, so nothing on the host takes it apart: a fixed record of 1 KiB is all that is read.

/** What the superblock of an ext4 says; see Linux's Documentation/filesystems/ext4/super.rst. */
export interface Ext4State {
  readonly bytes: number;
  /** Why it is not to be used; undefined for one that is as it should be. */
  readonly damage: string | undefined;
}

const OFFSET = 1024;
const SIZE = 1024;
const MAGIC = 0xef53;
const STATE_ERRORS = 2;
const INCOMPAT_64BIT = 0x80;
const RO_COMPAT_METADATA_CSUM = 0x400;
const MAX_LOG_BLOCK_SIZE = 6;

/** @throws a system error where the file cannot be read */
export async function readExt4State(path: string): Promise<Ext4State> {
  const file = await open(path, 'r');
  try {
    const block = Buffer.alloc(SIZE);
    const [{ bytesRead }, { size }] = [await file.read(block, 0, SIZE, OFFSET), await file.stat()];
    const bytes = bytesOf(block);
    return { bytes, damage: bytesRead < SIZE ? 'it is too short' : damageOf(block, bytes, size) };
  } finally {
    await file.close();
  }
}

function bytesOf(block: Buffer): number {
  const high = block.readUInt32LE(0x60) & INCOMPAT_64BIT ? block.readUInt32LE(0x150) : 0;
  return (high * 2 ** 32 + block.readUInt32LE(0x04)) * 1024 * 2 ** block.readUInt32LE(0x18);
}

function damageOf(block: Buffer, bytes: number, fileSize: number): string | undefined {
  if (block.readUInt16LE(0x38) !== MAGIC) {
    return 'it has no ext4';
  }
  const hasChecksum = (block.readUInt32LE(0x64) & RO_COMPAT_METADATA_CSUM) !== 0;
  if (hasChecksum && crc32c(block.subarray(0, 0x3fc)) !== block.readUInt32LE(0x3fc)) {
    return 'the checksum of its superblock is wrong';
  }
  if (block.readUInt32LE(0x18) > MAX_LOG_BLOCK_SIZE || bytes > fileSize) {
    return `its file system has ${bytes} bytes, and the file ${fileSize}`;
  }
  return block.readUInt16LE(0x3a) & STATE_ERRORS ? 'the kernel of a guest has found errors in it' : undefined;
}

/** CRC-32C as ext4 has it: without the complement at the end. */
function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    }
  }
  return crc >>> 0;
}
