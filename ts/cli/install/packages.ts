import { access } from 'node:fs/promises';
import { SmartVMError } from '../../errors.js';
import { missingTools, packagesOf, run } from '../../util/run.js';
import { qemuProgram } from '../../vmm/find.js';
import type { Finding, Step } from './step.js';

export interface PackageNeeds {
  readonly qemu: boolean;
  /** Firecracker will be fetched. */
  readonly release: boolean;
  /** An image will be built. */
  readonly image: boolean;
  /** It is an OCI image. */
  readonly oci: boolean;
}

const isRoot = () => process.getuid?.() === 0;

/** Tools of {@link run} by what they are for. Networks of the host are root's. */
function toolNeeds({ qemu, release, image, oci }: PackageNeeds): [tool: string, why: string][] {
  const of = (why: string, ...tools: string[]) => tools.map((tool): [string, string] => [tool, why]);
  const mapped = isRoot() ? [] : ['newuidmap'];
  return [
    ...of('to run VMs', 'flock', 'mke2fs'),
    ...(isRoot() ? of('for networks of VMs', 'ip', 'nft') : []),
    ...(qemu ? of('to run VMs without KVM', qemuProgram().program, 'setpriv') : []),
    ...(release ? of('to unpack Firecracker', 'tar', 'gzip') : []),
    ...(image ? of('to build images', 'mmdebstrap', 'mksquashfs', 'setpriv', 'unshare', ...mapped) : []),
    ...(image ? of('to unpack kernels', 'xz', 'zstd', 'depmod') : []),
    ...(oci ? of('to pull OCI images', 'skopeo', 'umoci') : []),
  ];
}

/** What a tool needs that is no program. */
const FILES = [
  ['/usr/share/keyrings/debian-archive-keyring.gpg', 'debian-archive-keyring'],
  ['/etc/ssl/certs/ca-certificates.crt', 'ca-certificates'],
] as const;

interface Missing {
  /** Tools and files. */
  readonly names: readonly string[];
  readonly packages: readonly string[];
  /** The names, each with what it is for. */
  readonly text: string;
  /** What they are for, together. */
  readonly reason: string;
}

async function findMissing(needs: PackageNeeds): Promise<Missing> {
  const wanted = toolNeeds(needs);
  const tools = await missingTools([...new Set(wanted.map(([tool]) => tool))]);
  const absent = await Promise.all(
    FILES.map(([path]) =>
      access(path).then(
        () => false,
        () => needs.image,
      ),
    ),
  );
  const files = FILES.filter((_file, index) => absent[index]);
  const whys = tools.map((tool) => wanted.find(([name]) => name === tool)?.[1] ?? '');
  const named = tools.map((tool, index) => `${tool} (${whys[index]})`);
  return {
    names: [...tools, ...files.map(([path]) => path)],
    packages: [...new Set([...packagesOf(tools), ...files.map(([, name]) => name)])],
    text: [...named, ...files.map(([path]) => `${path} (to build images)`)].join(', '),
    reason: [...new Set([...whys, ...files.map(() => 'to build images')])].join(', '),
  };
}

/** The system's packages: found, installed with `--with-deps`, or named together with the command that installs them. */
export function packagesStep(needs: PackageNeeds, withDeps: boolean): Step {
  return { name: 'packages', find: () => findPackages(needs, withDeps) };
}

async function findPackages(needs: PackageNeeds, withDeps: boolean): Promise<Finding> {
  const { names, packages, text, reason } = await findMissing(needs);
  if (names.length === 0) {
    return { state: 'present', message: 'every system tool that SmartVM runs is installed' };
  }
  const missing = `missing: ${text}`;
  const command = `${isRoot() ? '' : 'sudo '}apt-get install --no-install-recommends ${packages.join(' ')}`;
  const details = { missing: names, packages };
  if ((await missingTools(['apt-get'])).length > 0) {
    const message = `${missing}; there is no apt-get here: install them by the system's own means (Debian's packages: ${packages.join(' ')})`;
    return { state: 'failed', code: 'TOOL_MISSING', message, details };
  }
  if (!withDeps) {
    const message = `${missing}; install with: ${command} (or: smartvm install --with-deps)`;
    return { state: 'failed', code: 'TOOL_MISSING', message, command, details };
  }
  return {
    state: 'needed',
    message: `installing ${packages.join(', ')} with apt-get`,
    reason,
    details,
    act: async ({ message }) => {
      await installPackages(packages, command, message);
      const still = await findMissing(needs);
      if (still.names.length > 0) {
        throw new SmartVMError('TOOL_MISSING', `installed, and still missing: ${still.names.join(', ')}`);
      }
      return { message: `installed ${packages.join(', ')} with apt-get`, details };
    },
  };
}

const LOCK = ['-o', 'DPkg::Lock::Timeout=120'];

async function installPackages(
  packages: readonly string[],
  command: string,
  say: (text: string) => void,
): Promise<void> {
  const apt = await aptGet(command);
  const install = ['install', '--yes', '--no-install-recommends', ...LOCK];
  const download = [...install, '--download-only', ...packages];
  await apt(download).catch(async () => {
    say("updating apt's package lists");
    await apt(['update', ...LOCK]);
    await apt(download);
  });
  say(`unpacking ${packages.join(', ')}`);
  await apt([...install, ...packages]);
}

/**
 * apt-get with the rights it needs and without questions. It is in a session of its own, where Ctrl-C does not reach it: a half-configured
 * package is a nuisance to every program that uses apt.
 */
async function aptGet(command: string): Promise<(args: readonly string[]) => Promise<unknown>> {
  const environment = ['DEBIAN_FRONTEND=noninteractive', 'NEEDRESTART_MODE=l', 'LC_ALL=C.UTF-8'];
  const vector = ['setsid', '--wait', 'env', ...environment, 'apt-get', '-qq'];
  if (!isRoot()) {
    await run('sudo', ['-n', 'true']).catch((cause) => {
      throw new SmartVMError('TOOL_FAILED', `sudo is missing, or would ask for a password; run: ${command}`, {
        cause,
        details: { command },
      });
    });
    vector.unshift('sudo', '-n');
  }
  const [tool = '', ...first] = vector;
  return (args) => run(tool, [...first, ...args]);
}
