import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSmartVMError } from '../../../ts/errors.js';
import { selectModules } from '../../../ts/images/kernel-modules.js';
import { moduleName, readModuleInfo, withoutSignature } from '../../../ts/images/modinfo.js';
import { run } from '../../../ts/util/run.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

/** A minimal ELF64 with a .modinfo section of these fields: header, names, modinfo, three section headers. */
function elfModule(...fields: string[]): Buffer {
  const names = Buffer.from('\0.modinfo\0.shstrtab\0', 'latin1');
  const modinfo = Buffer.from(fields.map((field) => `${field}\0`).join(''), 'latin1');
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  header.writeBigUInt64LE(BigInt(64 + names.length + modinfo.length), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(3, 60);
  header.writeUInt16LE(2, 62);
  const section = (name: number, offset: number, size: number) => {
    const entry = Buffer.alloc(64);
    entry.writeUInt32LE(name);
    entry.writeBigUInt64LE(BigInt(offset), 24);
    entry.writeBigUInt64LE(BigInt(size), 32);
    return entry;
  };
  const sections = [section(0, 0, 0), section(1, 64 + names.length, modinfo.length), section(10, 64, names.length)];
  return Buffer.concat([header, names, modinfo, ...sections]);
}

async function kernelWith(
  scratch: ScratchDirectory,
  files: Record<string, Buffer>,
  builtin: string[] = [],
): Promise<string> {
  await mkdir(scratch.file('kernel'), { recursive: true });
  for (const [name, data] of Object.entries(files)) {
    const path = scratch.file('kernel', name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, data);
  }
  await writeFile(scratch.file('modules.builtin'), builtin.map((name) => `${name}\n`).join(''));
  return scratch.path;
}

describe('readModuleInfo', () => {
  it('reads names, dependencies, aliases and soft dependencies', () => {
    const module = elfModule(
      'name=virtio_net',
      'depends=virtio,net-failover',
      'alias=virtio:d1v*',
      'alias=x',
      'softdep=pre: crc32c aes post: late',
    );
    expect(readModuleInfo(module, 'm.ko')).toEqual({
      name: 'virtio_net',
      depends: ['virtio', 'net_failover'],
      aliases: ['virtio:d1v*', 'x'],
      softPre: ['crc32c', 'aes'],
    });
  });

  it('refuses what is not a module by a typed error, whatever the bytes', () => {
    const module = elfModule('name=a', 'depends=b');
    fc.assert(
      fc.property(fc.nat(module.length - 1), fc.nat(255), fc.nat(module.length), (at, byte, length) => {
        const damaged = Buffer.from(module);
        damaged.writeUInt8(byte, at);
        try {
          readModuleInfo(damaged.subarray(0, length), 'm.ko');
        } catch (error) {
          expect(isSmartVMError(error, 'IMAGE_BUILD_FAILED')).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('takes away the signature behind a module, and nothing else', () => {
    const module = elfModule('name=a');
    const signature = Buffer.alloc(300, 9);
    const trailer = Buffer.alloc(12);
    trailer.writeUInt32BE(signature.length, 8);
    const signed = Buffer.concat([module, signature, trailer, Buffer.from('~Module signature appended~\n')]);
    expect(withoutSignature(signed).equals(module)).toBe(true);
    expect(withoutSignature(module)).toBe(module);
  });

  it('takes a dash for an underscore in names, as the kernel does', () => {
    expect(moduleName('kernel/drivers/virtio-rng.ko.xz')).toBe('virtio_rng');
  });
});

describe('selectModules', () => {
  it('gives dependencies before dependents, each once, of plain and packed files, and skips what is built in or absent', async () => {
    await using scratch = await scratchDirectory();
    const ring = elfModule('name=virtio_ring', 'depends=');
    const directory = await kernelWith(
      scratch,
      {
        'a/virtio_blk.ko': elfModule('depends=virtio,virtio_ring', 'alias=virtio:d2v*'),
        'b/virtio.ko.xz': await run('xz', ['--stdout', '--check=crc32'], {
          input: elfModule('depends=virtio_ring,crc16'),
        }),
        'c/virtio_ring.ko': ring,
        'unwanted.ko': elfModule('depends=none'),
      },
      ['kernel/fs/ext4/ext4.ko', 'kernel/lib/crc16.ko'],
    );
    const modules = await selectModules(directory, '6.1', ['virtio-blk', 'ext4', 'absent']);
    expect(modules.map(({ name, path, depends, aliases }) => ({ name, path, depends, aliases }))).toEqual([
      { name: 'virtio_ring', path: '/lib/modules/6.1/kernel/c/virtio_ring.ko', depends: [], aliases: [] },
      { name: 'virtio', path: '/lib/modules/6.1/kernel/b/virtio.ko', depends: ['virtio_ring'], aliases: [] },
      {
        name: 'virtio_blk',
        path: '/lib/modules/6.1/kernel/a/virtio_blk.ko',
        depends: ['virtio', 'virtio_ring'],
        aliases: ['virtio:d2v*'],
      },
    ]);
    expect(modules[0]?.data.equals(ring)).toBe(true);
  });

  it('says which dependency a kernel lacks', async () => {
    await using scratch = await scratchDirectory();
    const directory = await kernelWith(scratch, { 'overlay.ko': elfModule('depends=exportfs') });
    await expect(selectModules(directory, '6.1', ['overlay'])).rejects.toMatchObject({
      code: 'IMAGE_BUILD_FAILED',
      message: expect.stringContaining('overlay of kernel 6.1 needs exportfs'),
    });
  });

  it('ends on modules that depend on each other', async () => {
    await using scratch = await scratchDirectory();
    const directory = await kernelWith(scratch, { 'a.ko': elfModule('depends=b'), 'b.ko': elfModule('depends=a') });
    expect((await selectModules(directory, '6.1', ['a'])).map(({ name }) => name)).toEqual(['b', 'a']);
  });
});
