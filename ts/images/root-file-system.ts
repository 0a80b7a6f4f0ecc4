import { rm, truncate, writeFile } from 'node:fs/promises';
import type { RunOptions } from '../util/run.js';
import { sealFile } from '../util/verified-file.js';
import { buildSandboxTools, runInBuildSandbox } from './build-sandbox.js';
import type { RootFsType } from './image-types.js';

/** What {@link packRoot} makes. */
export type PackedFsType = Extract<RootFsType, 'squashfs' | 'ext4'>;

export interface RootPacking {
  readonly fsType: PackedFsType;
  /** The newest time that a file may have, in seconds since 1970: of what the build itself made there is no trace. */
  readonly sourceDateEpoch: number;
  /** `cwd` is the folder in which a killed tool may leave what it likes. */
  readonly options: RunOptions & { readonly cwd: string };
}

const BLOCK = 4096;
/** Of an inode, and of what a folder or a name takes beside it. */
const INODE_BYTES = 256;
const SPARE_BYTES = 16 << 20;

export function packingTools(fsType: PackedFsType): string[] {
  return [
    fsType === 'squashfs' ? 'mksquashfs' : 'mke2fs',
    ...(fsType === 'ext4' ? ['du'] : []),
    ...buildSandboxTools(),
  ];
}

/**
 * Makes a root file system of a folder. As squashfs, the same files give the same bytes, and /dev is empty, which the guest's
 * kernel fills; mke2fs writes down when the folder was made, and takes all of it.
 * @param target must not exist; read-only (0444) afterwards
 * @throws SmartVMError TOOL_FAILED, CANCELED
 */
export async function packRoot(folder: string, target: string, packing: RootPacking): Promise<void> {
  const pack = packing.fsType === 'squashfs' ? packSquashfs : packExt4;
  try {
    await pack(folder, target, packing);
    await sealFile(target);
  } catch (error) {
    await rm(target, { force: true });
    throw error;
  }
}

async function packSquashfs(folder: string, target: string, packing: RootPacking): Promise<void> {
  // Uncompressed: unpacking costs more than reading, most of all under emulation.
  const plain = ['-noappend', '-quiet', '-no-progress', '-noI', '-noD', '-noF', '-noX', '-one-file-system'];
  const emptyDev = ['-p', `dev D ${packing.sourceDateEpoch} 755 0 0`, '-e', 'dev'];
  await runInBuildSandbox('mksquashfs', [folder, target, ...plain, ...emptyDev], withEpoch(packing));
}

async function packExt4(folder: string, target: string, packing: RootPacking): Promise<void> {
  const measure = async (...how: string[]) => {
    const output = await runInBuildSandbox('du', ['--summarize', '--one-file-system', ...how, folder], packing.options);
    return Number.parseInt(output.toString(), 10);
  };
  const [bytes, inodes] = [await measure('--apparent-size', '--block-size=1'), await measure('--inodes')];
  const content = bytes + inodes * (BLOCK + INODE_BYTES);
  const size = Math.ceil((content * 1.05 + SPARE_BYTES) / BLOCK / 256) * BLOCK * 256;
  await writeFile(target, '', { mode: 0o600, flag: 'wx' });
  await truncate(target, size);
  const form = [
    '-q',
    '-F',
    '-t',
    'ext4',
    '-m',
    '0',
    '-b',
    `${BLOCK}`,
    '-I',
    `${INODE_BYTES}`,
    '-N',
    `${inodes + 1024}`,
  ];
  const features = ['-E', 'root_owner=0:0', '-O', '^has_journal,^resize_inode'];
  await runInBuildSandbox('mke2fs', [...form, ...features, '-d', folder, target], packing.options);
}

function withEpoch({ sourceDateEpoch, options }: RootPacking): RunOptions {
  return { ...options, env: { ...process.env, TMPDIR: options.cwd, SOURCE_DATE_EPOCH: String(sourceDateEpoch) } };
}
