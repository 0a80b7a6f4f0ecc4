import { gunzipSync } from 'node:zlib';
import { SmartVMError } from '../errors.js';
import { run } from '../util/run.js';
import { unpackLz4Legacy } from './lz4.js';

const MAX_KERNEL_BYTES = 512 * 1024 * 1024;

/** Offsets in the setup header of a bzImage: Documentation/arch/x86/boot.rst of Linux. */
const SETUP_SECTS = 0x1f1;
const SETUP_MAGIC = 0x202;
const PROTOCOL_VERSION = 0x206;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const FIRST_PROTOCOL_WITH_PAYLOAD = 0x0208;

/** Offset and value of the magic in the header of an arm64 Image: Documentation/arch/arm64/booting.rst of Linux. */
const ARM64_MAGIC = { offset: 56, value: 'ARM\x64' };

/**
 * The kernel as Firecracker takes it: an ELF `vmlinux` on x86_64 (from a bzImage), an `Image` on aarch64 (from an Image, gzip or EFI zboot).
 * A kernel that is in that form already comes back as it is.
 * @throws SmartVMError IMAGE_KERNEL_UNSUPPORTED when it is none of them, TOOL_MISSING for xz or zstd
 */
export async function unpackKernel(kernel: Buffer, arch: 'x86_64' | 'aarch64'): Promise<Buffer> {
  const unpacked = await (arch === 'x86_64' ? toElf(kernel) : toImage(kernel)).catch((cause: Error) => {
    // A number in a header that points outside, a payload that gzip cannot read.
    throw cause instanceof SmartVMError
      ? cause
      : new SmartVMError('IMAGE_KERNEL_UNSUPPORTED', `the kernel is damaged: ${cause.message}`, { cause });
  });
  if (arch === 'x86_64' ? !isElf(unpacked) : !isArm64Image(unpacked)) {
    const wanted = arch === 'x86_64' ? 'an ELF vmlinux or a bzImage' : 'an arm64 Image';
    throw new SmartVMError('IMAGE_KERNEL_UNSUPPORTED', `the kernel is not ${wanted} for ${arch}`);
  }
  return unpacked;
}

async function toElf(kernel: Buffer): Promise<Buffer> {
  if (isElf(kernel)) {
    return kernel;
  }
  if (kernel.length < 0x260 || kernel.toString('latin1', SETUP_MAGIC, SETUP_MAGIC + 4) !== 'HdrS') {
    throw new SmartVMError('IMAGE_KERNEL_UNSUPPORTED', 'the kernel is neither an ELF vmlinux nor a bzImage');
  }
  if (kernel.readUInt16LE(PROTOCOL_VERSION) < FIRST_PROTOCOL_WITH_PAYLOAD) {
    throw new SmartVMError('IMAGE_KERNEL_UNSUPPORTED', 'the bzImage is older than Linux 2.6.26: use a newer kernel');
  }
  const setupSectors = kernel.readUInt8(SETUP_SECTS) || 4; // 0 means 4, for historical reasons
  const start = (setupSectors + 1) * 512 + kernel.readUInt32LE(PAYLOAD_OFFSET);
  const length = kernel.readUInt32LE(PAYLOAD_LENGTH);
  if (length < 8 || start + length > kernel.length) {
    throw new SmartVMError('IMAGE_KERNEL_UNSUPPORTED', 'the bzImage is cut short: fetch the kernel again');
  }
  return await unpackPayload(kernel.subarray(start, start + length));
}

async function toImage(kernel: Buffer): Promise<Buffer> {
  if (kernel.readUInt16BE(0) === 0x1f8b) {
    return gunzipSync(kernel, { maxOutputLength: MAX_KERNEL_BYTES });
  }
  // EFI zboot: "MZ", "zimg" at 4, then offset and length of the payload (drivers/firmware/efi/libstub/zboot-header.S).
  if (kernel.toString('latin1', 4, 8) === 'zimg') {
    const start = kernel.readUInt32LE(8);
    return await unpackPayload(kernel.subarray(start, start + kernel.readUInt32LE(12)));
  }
  return kernel;
}

/** A compressed payload; all but gzip have the unpacked size behind them, as 4 bytes (scripts/Makefile.lib, size_append). */
async function unpackPayload(payload: Buffer): Promise<Buffer> {
  if (isElf(payload)) {
    return payload;
  }
  const body = payload.subarray(0, -4);
  const size = payload.readUInt32LE(payload.length - 4);
  if (size > MAX_KERNEL_BYTES) {
    throw new SmartVMError('IMAGE_KERNEL_UNSUPPORTED', `the kernel claims to unpack to ${size} bytes`);
  }
  switch (payload.toString('hex', 0, 4)) {
    case '02214c18':
      return unpackLz4Legacy(body, size);
    case 'fd377a58':
      return await run('xz', ['--decompress', '--stdout', '--single-stream'], { input: body });
    case '28b52ffd':
      return await run('zstd', ['--decompress', '--stdout', '--quiet'], { input: body });
  }
  if (payload.readUInt16BE(0) === 0x1f8b) {
    return gunzipSync(payload, { maxOutputLength: MAX_KERNEL_BYTES });
  }
  throw new SmartVMError(
    'IMAGE_KERNEL_UNSUPPORTED',
    'the kernel is packed with something other than gzip, xz, zstd or lz4; unpack it with extract-vmlinux of Linux',
  );
}

function isElf(data: Buffer): boolean {
  return data.toString('latin1', 0, 4) === '\x7fELF';
}

function isArm64Image(data: Buffer): boolean {
  const { offset, value } = ARM64_MAGIC;
  return data.toString('latin1', offset, offset + value.length) === value;
}
