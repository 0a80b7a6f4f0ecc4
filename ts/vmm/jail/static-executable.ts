import { type FileHandle, open } from 'node:fs/promises';
import { SmartVMError } from '../../errors.js';
import { fileState } from '../../util/file-state.js';

/** elf(5), of the 64-bit little-endian files that both architectures have. */
const MAGIC = '\x7fELF';
const HEADER_BYTES = 64;
const PT_INTERP = 3;

/**
 * A jail has the one file of Firecracker, so that must be all that it loads.
 * @throws SmartVMError JAIL_FAILED where it wants a dynamic linker
 */
export async function assertStatic(path: string): Promise<void> {
  const state = fileState(path);
  if (state !== undefined && state === KNOWN_STATIC.get(path)) {
    return;
  }
  await using file = await open(path).catch(() => undefined); // the start says what is wrong with it
  if (file && (await wantsInterpreter(file))) {
    throw new SmartVMError(
      'JAIL_FAILED',
      `${path} is linked dynamically, and a jail has no libraries: take the static release that \`smartvm install\` fetches, ` +
        'or give up the wall with `jail: false`',
      { details: { path } },
    );
  }
  KNOWN_STATIC.set(path, state);
}

/** What this program has looked at already, by path and state. */
const KNOWN_STATIC = new Map<string, string | undefined>();

async function wantsInterpreter(file: FileHandle): Promise<boolean> {
  const header = await readAt(file, 0, HEADER_BYTES);
  if (header.length < HEADER_BYTES || header.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    return false;
  }
  const [offset, size, count] = [Number(header.readBigUInt64LE(32)), header.readUInt16LE(54), header.readUInt16LE(56)];
  const segments = await readAt(file, offset, size * count);
  for (let at = 0; size > 0 && at + size <= segments.length; at += size) {
    if (segments.readUInt32LE(at) === PT_INTERP) {
      return true;
    }
  }
  return false;
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}
