import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { SmartVMError } from '../errors.js';
import { run } from '../util/run.js';
import { type ModuleInfo, moduleName, readModuleInfo } from './modinfo.js';

/**
 * What a guest's devices and file systems need before its root is mounted. Modules of these names that the kernel has not, or has built in, are skipped;
 * all others stand in the root file system.
 */
export const BOOT_MODULES = [
  'virtio_pci',
  'virtio_mmio',
  'virtio_blk',
  'virtio_net',
  'virtio_console',
  'virtio_rng',
  'virtio_balloon',
  'vmw_vsock_virtio_transport',
  'vsock_loopback',
  'af_packet',
  'squashfs',
  'erofs',
  'ext4',
  'overlay',
  'loop',
] as const;

/** An entry of the guest's /smartvm/modules.json. */
export interface GuestModule {
  readonly name: string;
  /** Absolute, in the guest's initramfs. */
  readonly path: string;
  readonly depends: readonly string[];
  readonly aliases: readonly string[];
}

export interface LoadableModule extends GuestModule {
  /** Uncompressed. */
  readonly data: Buffer;
}

interface KernelModules {
  readonly release: string;
  readonly directory: string;
  /** Module name → path below `directory`. */
  readonly files: ReadonlyMap<string, string>;
  readonly builtin: ReadonlySet<string>;
}

/**
 * The wanted modules and all that they depend on, dependencies before dependents.
 * @param directory the `/lib/modules/<release>` of a kernel
 * @throws SmartVMError IMAGE_BUILD_FAILED when a dependency is neither there nor built in
 */
export async function selectModules(
  directory: string,
  release: string,
  wanted: readonly string[] = BOOT_MODULES,
): Promise<LoadableModule[]> {
  const kernel = await scanModules(directory, release);
  const chosen = new Map<string, LoadableModule>();
  const visiting = new Set<string>();
  const visit = async (name: string, neededBy?: string): Promise<void> => {
    if (chosen.has(name) || kernel.builtin.has(name) || visiting.has(name)) {
      return;
    }
    const file = kernel.files.get(name);
    if (!file) {
      if (neededBy) {
        throw new SmartVMError(
          'IMAGE_BUILD_FAILED',
          `module ${neededBy} of kernel ${release} needs ${name}, which is absent`,
        );
      }
      return;
    }
    visiting.add(name);
    const data = await readModule(join(directory, file));
    const info = readModuleInfo(data, file);
    for (const soft of info.softPre) {
      await visit(soft);
    }
    for (const dependency of info.depends) {
      await visit(dependency, name);
    }
    chosen.set(name, toLoadable(kernel, name, file, info, data));
  };
  for (const name of wanted) {
    await visit(moduleName(name));
  }
  return [...chosen.values()];
}

function toLoadable(kernel: KernelModules, name: string, file: string, info: ModuleInfo, data: Buffer): LoadableModule {
  const present = (other: string) => !kernel.builtin.has(other) && kernel.files.has(other);
  return {
    name,
    path: `/lib/modules/${kernel.release}/${file.replace(/\.(xz|gz|zst)$/, '')}`,
    depends: [...new Set([...info.softPre, ...info.depends])].filter(present),
    aliases: info.aliases,
    data,
  };
}

async function scanModules(directory: string, release: string): Promise<KernelModules> {
  const entries = await readdir(join(directory, 'kernel'), { recursive: true });
  const files = new Map<string, string>();
  for (const entry of entries) {
    if (/\.ko(\.(xz|gz|zst))?$/.test(entry)) {
      files.set(moduleName(entry), join('kernel', entry));
    }
  }
  const builtin = await readFile(join(directory, 'modules.builtin'), 'utf8').catch(() => '');
  return { release, directory, files, builtin: new Set(builtin.split('\n').filter(Boolean).map(moduleName)) };
}

async function readModule(path: string): Promise<Buffer> {
  const data = await readFile(path);
  if (path.endsWith('.xz')) {
    return await run('xz', ['--decompress', '--stdout'], { input: data });
  }
  if (path.endsWith('.zst')) {
    return await run('zstd', ['--decompress', '--stdout', '--quiet'], { input: data });
  }
  return path.endsWith('.gz') ? gunzipSync(data) : data;
}
