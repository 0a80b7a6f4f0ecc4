import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { PACKAGE_ROOT } from '../util/package-root.js';
import { hostArch, kvmProblem } from './host.js';

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
}

/**
 * The VMM for this host.
 * @throws SmartVMError VMM_NOT_FOUND, with what stands in the way of each and the command that mends it
 */
export async function findVmm(options: FindVmmOptions = {}): Promise<Vmm> {
  if (options.firecrackerBinaryPath !== undefined) {
    return { kind: 'firecracker', path: options.firecrackerBinaryPath };
  }
  const wanted = options.vmm ?? 'auto';
  const problems: string[] = [];
  for (const kind of ['firecracker', 'qemu'] as const) {
    if (wanted === 'auto' || wanted === kind) {
      const found = await FINDERS[kind]();
      if ('path' in found) {
        return { kind, path: found.path };
      }
      problems.push(found.problem);
    }
  }
  throw new SmartVMError('VMM_NOT_FOUND', `no VMM can run here: ${problems.join('; ')}`, { details: { problems } });
}

type Finding = { path: string } | { problem: string };

const FINDERS: Readonly<Record<VmmKind, () => Promise<Finding>>> = {
  firecracker: async () => {
    const problem = await kvmProblem();
    if (problem !== undefined) {
      return { problem: `Firecracker needs KVM: ${problem}` };
    }
    const path = await which('firecracker');
    return path ? { path } : { problem: 'firecracker is not on PATH (its releases are on GitHub)' };
  },
  qemu: async () => {
    const [program, debianPackage] =
      hostArch() === 'x86_64' ? ['qemu-system-x86_64', 'qemu-system-x86'] : ['qemu-system-aarch64', 'qemu-system-arm'];
    return (await which(program))
      ? { path: join(PACKAGE_ROOT, 'bin/smartvm-qemu') }
      : { problem: `${program} is not installed; install it with: apt-get install ${debianPackage}` };
  },
};

async function which(program: string): Promise<string | undefined> {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(directory, program);
    const executable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (directory !== '' && executable) {
      return path;
    }
  }
  return undefined;
}
