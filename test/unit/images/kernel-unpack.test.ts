import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSmartVMError } from '../../../ts/errors.js';
import { unpackKernel } from '../../../ts/images/kernel-unpack.js';
import { unpackLz4Legacy } from '../../../ts/images/lz4.js';
import { run } from '../../../ts/util/run.js';

const TEXT = Buffer.concat([
  ...Array.from({ length: 60 }, (_, index) => Buffer.from(`line ${index % 7} of the text: abcabcabcabc\n`)),
  Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
  Buffer.alloc(400, 'z'),
]);
/** TEXT, packed by `lz4 -l -9`. */
const PACKED_TEXT = Buffer.from(
  'AiFMGFQBAAD1CGxpbmUgMCBvZiB0aGUgdGV4dDogYWJjAwARCiEAHzEhAA0fMiEADR8zIQANHzQhAA0fNSEADR82IQAID+cA////////yP/yAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fYGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn+AgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq+wsbKztLW2t7i5uru8vb6/wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t/g4eLj5OXm5+jp6uvs7e7v8PHy8/T19vf4+fr7/P3+/3oBAP94UHp6enp6',
  'base64',
);

/** LZ4 without a match: what any data can be stored as. */
function storeAsLz4(data: Buffer): Buffer {
  const lengths =
    data.length < 15
      ? [data.length << 4]
      : [0xf0, ...Array(Math.floor((data.length - 15) / 255)).fill(255), (data.length - 15) % 255];
  const block = Buffer.concat([Buffer.from(lengths), data]);
  return Buffer.concat([Buffer.from('02214c18', 'hex'), uint32(block.length), block]);
}

const uint32 = (value: number) => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
};

const ELF = Buffer.concat([Buffer.from('\x7fELF\x02\x01\x01', 'latin1'), Buffer.alloc(3000, 'kernel ')]);

/** A bzImage around a payload: the fields of its setup header that matter, and 3 setup sectors. */
function bzImage(payload: Buffer, { version = 0x020f, payloadOffset = 700 } = {}): Buffer {
  const header = Buffer.alloc(4 * 512 + payloadOffset);
  header.writeUInt8(3, 0x1f1);
  header.write('HdrS', 0x202, 'latin1');
  header.writeUInt16LE(version, 0x206);
  header.writeUInt32LE(payloadOffset, 0x248);
  header.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([header, payload, Buffer.alloc(32, 0xaa)]);
}

describe('unpackLz4Legacy', () => {
  it('unpacks what lz4 packed: long literals, long and overlapping matches', () => {
    expect(unpackLz4Legacy(PACKED_TEXT, TEXT.length).equals(TEXT)).toBe(true);
  });

  it('never reads or writes outside, whatever the bytes: it unpacks or says that they are damaged', () => {
    fc.assert(
      fc.property(fc.nat(PACKED_TEXT.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(6000), (at, flip, size) => {
        const damaged = Buffer.from(PACKED_TEXT);
        damaged.writeUInt8(damaged.readUInt8(at) ^ flip, at);
        try {
          expect(unpackLz4Legacy(damaged, size)).toHaveLength(size);
        } catch (error) {
          expect(isSmartVMError(error, 'IMAGE_KERNEL_UNSUPPORTED')).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses an end that comes too soon', () => {
    expect(() => unpackLz4Legacy(PACKED_TEXT, TEXT.length + 1)).toThrow(/damaged/);
    expect(() => unpackLz4Legacy(PACKED_TEXT.subarray(0, -1), TEXT.length)).toThrow(/damaged/);
  });
});

describe('unpackKernel', () => {
  it.each([
    ['lz4', async () => Buffer.concat([storeAsLz4(ELF), uint32(ELF.length)])],
    [
      'xz',
      async () => Buffer.concat([await run('xz', ['--check=crc32', '--stdout'], { input: ELF }), uint32(ELF.length)]),
    ],
    [
      'zstd',
      async () => Buffer.concat([await run('zstd', ['--stdout', '--quiet'], { input: ELF }), uint32(ELF.length)]),
    ],
    ['gzip', async () => gzipSync(ELF)],
    ['nothing', async () => ELF],
  ])('finds the ELF kernel in a bzImage packed with %s', async (_name, pack) => {
    const unpacked = await unpackKernel(bzImage(await pack()), 'x86_64');
    expect(unpacked.equals(ELF)).toBe(true);
  });

  it('takes an ELF kernel as it is', async () => {
    expect(await unpackKernel(ELF, 'x86_64')).toBe(ELF);
  });

  it('takes an arm64 Image as it is, packed with gzip or as EFI zboot', async () => {
    const image = Buffer.alloc(200);
    image.write('ARM\x64', 56, 'latin1');
    expect(await unpackKernel(image, 'aarch64')).toBe(image);
    expect((await unpackKernel(gzipSync(image), 'aarch64')).equals(image)).toBe(true);
    const packed = gzipSync(image);
    const header = Buffer.alloc(64);
    header.write('MZ\0\0zimg', 'latin1');
    header.writeUInt32LE(64, 8);
    header.writeUInt32LE(packed.length, 12);
    expect((await unpackKernel(Buffer.concat([header, packed]), 'aarch64')).equals(image)).toBe(true);
  });

  it.each([
    ['a text', Buffer.from('#!/bin/sh\n'.repeat(100)), 'x86_64'],
    ['nothing', Buffer.alloc(0), 'x86_64'],
    ['nothing', Buffer.alloc(0), 'aarch64'],
    ['an ELF kernel for the other architecture', ELF, 'aarch64'],
    ['an old bzImage', bzImage(ELF, { version: 0x0207 }), 'x86_64'],
    ['a bzImage that is cut short', bzImage(ELF).subarray(0, 3000), 'x86_64'],
    ['an unknown compression', bzImage(Buffer.alloc(100, 7)), 'x86_64'],
    ['a payload that claims 3 GiB', bzImage(Buffer.concat([storeAsLz4(ELF), uint32(3 * 2 ** 30)])), 'x86_64'],
    ['a payload that is no kernel', bzImage(gzipSync(Buffer.alloc(100))), 'x86_64'],
  ] as const)('refuses %s', async (_name, kernel, arch) => {
    await expect(unpackKernel(kernel, arch)).rejects.toMatchObject({ code: 'IMAGE_KERNEL_UNSUPPORTED' });
  });
});
