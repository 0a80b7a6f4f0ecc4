import { dirname, resolve } from 'node:path';
import { hostArch } from '../vmm/host.js';
import { jailerPaths } from '../vmm/jailer.js';
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
  const firecracker = await inspect(host, chosen ?? (await host.which('firecracker')) ?? host.fetchedFirecracker);
  return {
    ...(vmm instanceof Error ? { vmm: undefined, vmmProblem: vmm.message } : { vmm: vmm.kind }),
    firecracker,
    jailer: await findJailer(host, firecracker),
    qemu,
  };
});

/** The one that VMs are jailed by: the first of Firecracker's version; where none is, the first. */
async function findJailer(host: Host, firecracker: Program | undefined): Promise<Program | undefined> {
  const onPath = await host.which('jailer');
  const paths = firecracker === undefined ? [onPath ?? []].flat() : jailerPaths(await both(host, firecracker), onPath);
  let first: Program | undefined;
  for (const path of paths) {
    const jailer = (await host.isExecutable(path)) ? await inspect(host, path) : undefined;
    if (jailer !== undefined && jailer.version === firecracker?.version) {
      return jailer;
    }
    first ??= jailer;
  }
  return first;
}

/** A program's path, and where that leads. */
async function both(host: Host, { path }: Program): Promise<string[]> {
  const target = await host.link(path);
  return target === undefined ? [path] : [path, resolve(dirname(path), target)];
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
