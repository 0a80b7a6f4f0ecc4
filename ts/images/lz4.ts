import { SmartVMError } from '../errors.js';

const LEGACY_MAGIC = 0x184c2102;

/**
 * Unpacks LZ4's legacy frame, the form in which Linux packs its kernels: a magic, then blocks with a length each.
 * Node has no LZ4. Format: lz4_Frame_format.md ("Legacy frame") and lz4_Block_format.md of the LZ4 project.
 * @param size the exact number of unpacked bytes
 * @throws SmartVMError IMAGE_KERNEL_UNSUPPORTED when the data is not that, or unpacks to another size
 */
export function unpackLz4Legacy(input: Uint8Array, size: number): Buffer {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const output = Buffer.allocUnsafe(size);
  let from = 0;
  let to = 0;
  while (to < size && from + 4 <= input.length) {
    const length = view.getUint32(from, true);
    from += 4;
    if (length === LEGACY_MAGIC) {
      continue; // frames may follow each other
    }
    if (from + length > input.length) {
      throw corrupt();
    }
    to = unpackBlock(input.subarray(from, from + length), output, to);
    from += length;
  }
  if (to !== size) {
    throw corrupt();
  }
  return output;
}

function unpackBlock(input: Uint8Array, output: Buffer, start: number): number {
  let from = 0;
  let to = start;
  const extendedLength = (nibble: number): number => {
    let length = nibble;
    for (let byte = nibble === 15 ? 255 : 0; byte === 255; length += byte) {
      byte = input[from++] ?? fail();
    }
    return length;
  };
  while (from < input.length) {
    const token = input[from++] ?? fail();
    const literals = extendedLength(token >> 4);
    if (from + literals > input.length || to + literals > output.length) {
      throw corrupt();
    }
    output.set(input.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    if (from === input.length) {
      return to; // the last sequence of a block has no match
    }
    const distance = (input[from] ?? fail()) | ((input[from + 1] ?? fail()) << 8);
    from += 2;
    const end = to + extendedLength(token & 15) + 4;
    if (distance === 0 || to - distance < start || end > output.length) {
      throw corrupt();
    }
    if (end - to <= distance) {
      output.copyWithin(to, to - distance, end - distance);
      to = end;
    } else {
      // The match overlaps what it makes: byte by byte, as the format says.
      for (; to < end; to++) {
        output[to] = output[to - distance] as number;
      }
    }
  }
  return to;
}

function fail(): never {
  throw corrupt();
}

function corrupt(): SmartVMError {
  return new SmartVMError(
    'IMAGE_KERNEL_UNSUPPORTED',
    'the LZ4 payload of the kernel is damaged: fetch the kernel again',
  );
}
