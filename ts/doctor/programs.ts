import { basename, dirname, join } from 'node:path';
import { hostArch } from '../vmm/host.js';
import { versionOfExecutable } from '../vmm/version.js';
import { type Host, perHost } from './host.js';

export interface Program {
  readonly path: string;
  /** `unknown` when what it printed has no version in it. */
  readonly version: string;
  /** Why it did not say its version. */
  readonly problem?: string;
}

export interface Programs {
  /** The VMM that SmartVM would take here; undefined when none can run. */
  readonly vmm: 'firecracker' | 'qemu' | undefined;
  /** Why none can run. */
  readonly vmmProblem?: string;
  readonly firecracker: Program | undefined;
  readonly jailer: Program | undefined;
  readonly qemu: Program | undefined;
}

const VERSION_TIMEOUT_MS = 5_000;

/** The programs that run guests, and which of them would. */
export const programsOf = perHost(async (host: Host): Promise<Programs> => {
  const [vmm, qemu] = await Promise.all([
    host.findVmm().catch((error: Error) => error),
    host.which(`qemu-system-${hostArch()}`).then((path) => inspect(host, path)),
  ]);
  const chosen = !(vmm instanceof Error) && vmm.kind === 'firecracker' ? vmm.path : undefined;
  const firecracker = chosen ?? (await host.which('firecracker'));
  const [firecrackerProgram, jailer] = await Promise.all([
    inspect(host, firecracker),
    findJailer(host, firecracker).then((path) => inspect(host, path)),
  ]);
  return {
    ...(vmm instanceof Error ? { vmm: undefined, vmmProblem: vmm.message } : { vmm: vmm.kind }),
    firecracker: firecrackerProgram,
    jailer,
    qemu,
  };
});

/** The jailer beside Firecracker, under the name that it has in a release too, or else on PATH. */
async function findJailer(host: Host, firecracker: string | undefined): Promise<string | undefined> {
  if (firecracker !== undefined) {
    const sibling = join(dirname(firecracker), basename(firecracker).replace('firecracker', 'jailer'));
    if (sibling !== firecracker && (await host.isExecutable(sibling))) {
      return sibling;
    }
  }
  return await host.which('jailer');
}

async function inspect(host: Host, path: string | undefined): Promise<Program | undefined> {
  if (path === undefined) {
    return undefined;
  }
  try {
    return { path, version: await versionOfExecutable(host.at(path), AbortSignal.timeout(VERSION_TIMEOUT_MS)) };
  } catch (error) {
    return { path, version: 'unknown', problem: (error as Error).message };
  }
}
