import { type FileHandle, open, stat } from 'node:fs/promises';
import { Fault } from '../fault.js';

const MIB = 1 << 20;
const CHUNK_BYTES = MIB;
const CONFIG_START = Buffer.from('IKCFG_ST');
const CONFIG_END = Buffer.from('IKCFG_ED');
/** The compressed configuration of a kernel is some 60 KiB. */
const MAX_CONFIG_BYTES = MIB;

/** What the loaders of x86_64 look at first. */
const HEADER_BYTES = 0x206;
const ELF_HEADER_BYTES = 64;
const ELF_LITTLE_ENDIAN = 1;
const ELF_PHOFF = 0x20;
const ELF_PHENTSIZE = 0x36;
const ELF_PHNUM = 0x38;
const PROGRAM_HEADER_BYTES = 56;
const PT_LOAD = 1;
const PH_PADDR = 0x18;
const PH_FILESZ = 0x20;
const BZIMAGE_MAGIC_OFFSET = 0x202;

/**
 * Refuses what is no kernel, and a kernel that cannot find its devices here. They are on PCI, and a kernel that was built for Firecracker's
 * MMIO alone says so in its embedded configuration. One without such a configuration is taken at its word.
 * @throws Fault
 */
export async function checkKernel(path: string): Promise<void> {
  const file = await open(path);
  try {
    if (process.arch === 'x64') {
      await checkFormat(file);
    }
    const config = await embeddedConfig(file);
    if (config !== undefined && !/^CONFIG_VIRTIO_PCI=[ym]$/m.test(config)) {
      throw new Fault(
        `Start microvm error: the kernel ${path} was built without CONFIG_VIRTIO_PCI, so it would find none of the devices of a QEMU machine. Kernels that work: Debian's linux-image-cloud, and those of Firecracker's CI from v1.12 on.`,
      );
    }
  } finally {
    await file.close();
  }
}

const kernelFault = (format: string, reason: string) =>
  new Fault(
    `Start microvm error: System configuration error: Cannot load kernel due to invalid memory configuration or invalid kernel image: Kernel Loader: failed to load ${format} kernel image: Kernel Loader: ${reason}`,
  );

/** QEMU would refuse these too, but not say why. */
async function checkFormat(file: FileHandle): Promise<void> {
  const header = await file
    .read({ buffer: Buffer.alloc(HEADER_BYTES), position: 0 })
    .then(({ buffer, bytesRead }) => buffer.subarray(0, bytesRead))
    .catch(() => Buffer.alloc(0)); // a directory can be opened, but not read
  if (header.length < ELF_HEADER_BYTES) {
    throw kernelFault('ELF', 'Unable to read elf header');
  }
  if (header.toString('latin1', 0, 4) === '\x7fELF') {
    if (header[5] !== ELF_LITTLE_ENDIAN) {
      throw kernelFault('ELF', 'Trying to load big-endian binary on little-endian machine');
    }
  } else if (header.toString('latin1', BZIMAGE_MAGIC_OFFSET, BZIMAGE_MAGIC_OFFSET + 4) !== 'HdrS') {
    throw kernelFault('bzImage', 'Invalid bzImage');
  }
}

/**
 * Refuses an ELF kernel that the guest's memory has no room for. QEMU would start it all the same.
 * @throws Fault
 */
export async function checkKernelFits(path: string, memSizeMib: number): Promise<void> {
  const file = await open(path);
  try {
    const header = (await file.read({ buffer: Buffer.alloc(ELF_HEADER_BYTES), position: 0 })).buffer;
    if (process.arch !== 'x64' || header.toString('latin1', 0, 4) !== '\x7fELF') {
      return;
    }
    const [size, count] = [header.readUInt16LE(ELF_PHENTSIZE), header.readUInt16LE(ELF_PHNUM)];
    const position = Number(header.readBigUInt64LE(ELF_PHOFF));
    const table = (await file.read({ buffer: Buffer.alloc(Math.max(1, size * count)), position })).buffer;
    for (let index = 0; index < count && size >= PROGRAM_HEADER_BYTES; index++) {
      if (segmentEnd(table.subarray(index * size)) > memSizeMib * MIB) {
        throw kernelFault('ELF', 'Unable to read kernel image');
      }
    }
  } finally {
    await file.close();
  }
}

/** Where the content of a segment ends in the guest's memory; 0 for one that is not loaded. */
function segmentEnd(header: Buffer): number {
  return header.readUInt32LE(0) === PT_LOAD
    ? Number(header.readBigUInt64LE(PH_PADDR)) + Number(header.readBigUInt64LE(PH_FILESZ))
    : 0;
}

/** What CONFIG_IKCONFIG put into an uncompressed kernel. */
async function embeddedConfig(file: FileHandle): Promise<string | undefined> {
  const start = await find(file, CONFIG_START);
  if (start === undefined) {
    return undefined;
  }
  const { buffer, bytesRead } = await file.read({
    buffer: Buffer.alloc(MAX_CONFIG_BYTES),
    position: start + CONFIG_START.length,
  });
  const end = buffer.subarray(0, bytesRead).indexOf(CONFIG_END);
  if (end < 0) {
    return undefined;
  }
  const { gunzipSync } = await import('node:zlib');
  try {
    return gunzipSync(buffer.subarray(0, end), { maxOutputLength: 16 * MAX_CONFIG_BYTES }).toString('latin1');
  } catch {
    return undefined; // the mark stands in a kernel's code too, with no configuration behind it
  }
}

async function find(file: FileHandle, mark: Buffer): Promise<number | undefined> {
  const overlap = mark.length - 1;
  const buffer = Buffer.alloc(CHUNK_BYTES + overlap);
  for (let position = 0; ; position += CHUNK_BYTES) {
    const { bytesRead } = await file.read({ buffer, position });
    const index = buffer.subarray(0, bytesRead).indexOf(mark);
    if (index >= 0) {
      return position + index;
    }
    if (bytesRead < buffer.length) {
      return undefined;
    }
  }
}

/**
 * Refuses an initrd that cannot be one, or that the guest's memory has no room for.
 * @throws Fault
 */
export async function checkInitrd(path: string, memSizeMib: number): Promise<void> {
  const refusal = 'Start microvm error: Error with initrd initialization: Cannot load initrd due to';
  const info = await stat(path);
  if (info.isDirectory()) {
    throw new Fault(`${refusal} an invalid image: Is a directory (os error 21).`);
  }
  if (info.size === 0 || info.size > memSizeMib * MIB) {
    throw new Fault(`${refusal} an invalid memory configuration..`);
  }
}
