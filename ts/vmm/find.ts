import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { defaultDataDir } from '../config/directories.js';
import { SmartVMError } from '../errors.js';
import { PACKAGE_ROOT } from '../util/package-root.js';
import { hostArch, kvmProblem } from './host.js';
import { newestFirecracker, releaseFolder } from './release-files.js';

export type VmmKind = 'firecracker' | 'qemu';

/** An executable that speaks the Firecracker API. Which one it is, nothing above this folder asks. */
export interface Vmm {
  readonly kind: VmmKind;
  readonly path: string;
}

export interface FindVmmOptions {
  /** `auto`, the default, takes Firecracker where KVM can run guests and `smartvm-qemu` elsewhere. */
  vmm?: 'auto' | VmmKind | undefined;
  /** Taken as it is, without a look at KVM: whoever names a binary knows the host. */
  firecrackerBinaryPath?: string | undefined;
  /** Where `smartvm install` puts Firecracker, in `bin/`. Default: that of the environment. */
  dataDir?: string | undefined;
}

/**
 * The VMM for this host.
 * @throws SmartVMError VMM_NOT_FOUND, with what stands in the way of each and the command that mends it
 */
export async function findVmm(options: FindVmmOptions = {}): Promise<Vmm> {
  if (options.firecrackerBinaryPath !== undefined) {
    const path = options.firecrackerBinaryPath;
    return { kind: isOurQemu(path) ? 'qemu' : 'firecracker', path };
  }
  const wanted = options.vmm ?? 'auto';
  const problems: string[] = [];
  for (const kind of ['firecracker', 'qemu'] as const) {
    if (wanted === 'auto' || wanted === kind) {
      const found = await FINDERS[kind](options.dataDir ?? defaultDataDir());
      if ('path' in found) {
        return { kind, path: found.path };
      }
      problems.push(found.problem);
    }
  }
  const message = `no VMM can run here: ${problems.join('; ')}. \`smartvm install --with-deps\` installs what this machine needs`;
  throw new SmartVMError('VMM_NOT_FOUND', message, { details: { problems } });
}

const SMARTVM_QEMU = join(PACKAGE_ROOT, 'bin/smartvm-qemu');

function isOurQemu(path: string): boolean {
  const [given, ours] = [path, SMARTVM_QEMU].map((one) => statSync(one, { throwIfNoEntry: false }));
  return given !== undefined && given.ino === ours?.ino && given.dev === ours.dev;
}

/** The QEMU that this host's guests run on, and Debian's package of it. */
export function qemuProgram(): { program: string; debianPackage: string } {
  return hostArch() === 'x86_64'
    ? { program: 'qemu-system-x86_64', debianPackage: 'qemu-system-x86' }
    : { program: 'qemu-system-aarch64', debianPackage: 'qemu-system-arm' };
}

/** The Firecracker that is used where KVM can run guests: that of PATH, else the newest that `smartvm install` fetched. */
export function findFirecracker(dataDir: string): string | undefined {
  return which('firecracker') ?? newestFirecracker(releaseFolder(dataDir))?.path;
}

/** A program's path by PATH. The answer is not kept: a few calls to the kernel, and PATH and what is in it may change. */
export function which(program: string): string | undefined {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    if (directory !== '') {
      const path = join(directory, program);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {} // not here
    }
  }
  return undefined;
}

type Finding = { path: string } | { problem: string };

const FINDERS: Readonly<Record<VmmKind, (dataDir: string) => Promise<Finding>>> = {
  firecracker: async (dataDir) => {
    const problem = await kvmProblem();
    if (problem !== undefined) {
      return { problem: `Firecracker needs KVM: ${problem}` };
    }
    const path = findFirecracker(dataDir);
    return path
      ? { path }
      : { problem: `firecracker is neither on PATH nor in ${releaseFolder(dataDir)} (\`smartvm install\` fetches it)` };
  },
  qemu: async () => {
    const { program, debianPackage } = qemuProgram();
    return which(program)
      ? { path: SMARTVM_QEMU }
      : { problem: `${program} is not installed; install it with: apt-get install ${debianPackage}` };
  },
};
