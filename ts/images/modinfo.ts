import { SmartVMError } from '../errors.js';

/** What a kernel module says of itself in its `.modinfo` section. */
export interface ModuleInfo {
  readonly name: string | undefined;
  readonly depends: readonly string[];
  readonly aliases: readonly string[];
  /** Modules to be loaded before this one although no symbol asks for them (`softdep=pre:`). */
  readonly softPre: readonly string[];
}

/** The kernel takes '-' and '_' in a module's name for the same. */
export function moduleName(fileOrName: string): string {
  return fileOrName
    .replace(/^.*\//, '')
    .replace(/\.ko(\.(xz|gz|zst))?$/, '')
    .replaceAll('-', '_');
}

/**
 * Reads a module (uncompressed, little-endian ELF64).
 * @throws SmartVMError IMAGE_BUILD_FAILED when it is not one
 */
export function readModuleInfo(module: Buffer, file: string): ModuleInfo {
  const fields = (findSection(module, '.modinfo', file)?.toString('latin1') ?? '').split('\0').filter(Boolean);
  const values = (key: string) =>
    fields.filter((field) => field.startsWith(`${key}=`)).map((f) => f.slice(key.length + 1));
  const names = (text: string) =>
    text
      .split(/[\s,]+/)
      .filter(Boolean)
      .map(moduleName);
  return {
    name: values('name')[0],
    depends: values('depends').flatMap(names),
    aliases: values('alias'),
    softPre: values('softdep').flatMap((text) => names(/pre:(.*?)(?=post:|$)/.exec(text)?.[1] ?? '')),
  };
}

/** ELF64: e_shoff at 40, e_shentsize 58, e_shnum 60, e_shstrndx 62; in a section header sh_name 0, sh_offset 24, sh_size 32. */
function findSection(elf: Buffer, wanted: string, file: string): Buffer | undefined {
  try {
    if (elf.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') {
      throw new RangeError('no little-endian ELF64 magic');
    }
    const [entrySize, count] = [elf.readUInt16LE(58), elf.readUInt16LE(60)];
    const table = Number(elf.readBigUInt64LE(40));
    const section = (index: number) => {
      const header = table + index * entrySize;
      const offset = Number(elf.readBigUInt64LE(header + 24));
      const size = Number(elf.readBigUInt64LE(header + 32));
      return { name: elf.readUInt32LE(header), data: () => bounded(elf, offset, size) };
    };
    const names = section(elf.readUInt16LE(62)).data();
    for (let index = 0; index < count; index++) {
      const { name, data } = section(index);
      if (names.toString('latin1', name, names.indexOf(0, name)) === wanted) {
        return data();
      }
    }
    return undefined;
  } catch (cause) {
    throw new SmartVMError('IMAGE_BUILD_FAILED', `${file} is not a kernel module: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function bounded(elf: Buffer, offset: number, size: number): Buffer {
  if (offset + size > elf.length) {
    throw new RangeError('a section lies outside the file');
  }
  return elf.subarray(offset, offset + size);
}

const SIGNATURE_MAGIC = '~Module signature appended~\n';

/** The module without the signature behind it (`struct module_signature`: its last field is the signature's length, big-endian). */
export function withoutSignature(module: Buffer): Buffer {
  const end = module.length - SIGNATURE_MAGIC.length;
  if (module.toString('latin1', Math.max(end, 0)) !== SIGNATURE_MAGIC) {
    return module;
  }
  return module.subarray(0, end - 12 - module.readUInt32BE(end - 4));
}
