import { advisoriesFor } from '../../vmm/advisories.js';
import { type Check, fail, info, ok, type Result, warn } from '../finding.js';
import type { Host } from '../host.js';
import { type Program, type Programs, programsOf } from '../programs.js';

const ADVISORIES = 'https://github.com/firecracker-microvm/firecracker/security/advisories';
const INSTALL = 'smartvm install';

export const TOOL_CHECKS: readonly Check[] = [
  {
    id: 'vmm',
    area: 'tools',
    title: 'VMM',
    about: 'A VMM can run here: Firecracker where KVM can run guests, else QEMU. Fails when there is neither.',
    run: checkVmm,
  },
  {
    id: 'firecracker',
    area: 'tools',
    title: 'Firecracker',
    about:
      'Its version, and whether that is known to be vulnerable. It fails for a hole that is open in every VM, and warns of one that only some options open.',
    source: ADVISORIES,
    run: async (host) => checkFirecracker(await programsOf(host)),
  },
  {
    id: 'jailer',
    area: 'tools',
    title: 'Jailer',
    about:
      "It is there, of Firecracker's version, and not known to be vulnerable. It matters as root, and where Firecracker runs.",
    source: ADVISORIES,
    run: async (host) => checkJailer(await programsOf(host), host.isRoot),
  },
  {
    id: 'qemu',
    area: 'tools',
    title: 'QEMU',
    about:
      'Its version and its accelerator: KVM, or TCG, which emulates the processor. It warns of TCG where QEMU runs the guests.',
    source: 'https://www.qemu.org/docs/master/system/security.html',
    run: checkQemu,
  },
  {
    id: 'oci',
    area: 'tools',
    title: 'OCI images',
    about:
      '`skopeo` and `umoci` are installed: images of registries, archives and layouts need them, and nothing else does.',
    run: checkOci,
  },
];

async function checkVmm(host: Host): Promise<Result> {
  const { vmm, vmmProblem, firecracker, qemu } = await programsOf(host);
  if (vmm === undefined) {
    return fail(vmmProblem ?? 'no VMM can run here', 'smartvm install --with-deps');
  }
  return ok(vmm === 'firecracker' ? `Firecracker, ${firecracker?.path}` : `smartvm-qemu, with ${qemu?.path ?? 'QEMU'}`);
}

function checkFirecracker({ vmm, firecracker }: Programs): Result[] {
  if (firecracker === undefined) {
    return [
      vmm === undefined
        ? info('not installed', `where KVM can run guests: ${INSTALL}`)
        : info('not installed: QEMU runs the guests', `where KVM can run guests: ${INSTALL}`),
    ];
  }
  return judgeVersion('firecracker', firecracker, vmm === 'firecracker');
}

function checkJailer({ vmm, firecracker, jailer }: Programs, isRoot: boolean): Result[] {
  const used = vmm === 'firecracker' && isRoot;
  if (jailer === undefined) {
    return [
      used
        ? fail('not installed: as root, Firecracker runs in its jail', INSTALL)
        : info(`not installed, nor needed: ${isRoot ? 'Firecracker does not run here' : 'only root can use it'}`),
    ];
  }
  const judged = judgeVersion('jailer', jailer, used);
  if (firecracker === undefined || firecracker.version === jailer.version) {
    return judged;
  }
  const unequal = (used ? fail : info)(
    `${jailer.path} is ${jailer.version} and Firecracker is ${firecracker.version}: they belong together`,
    `${INSTALL}, which fetches both of one release`,
  );
  return [unequal, ...judged.filter(({ verdict }) => verdict !== 'ok')];
}

/** @param used whether VMs would run by it: of one that only lies there, holes are worth a warning at most */
function judgeVersion(program: 'firecracker' | 'jailer', { path, version, problem }: Program, used: boolean): Result[] {
  if (problem !== undefined) {
    return [(used ? fail : warn)(`${path} does not say its version: ${problem}`, INSTALL)];
  }
  const results = advisoriesFor(program, version).map(({ id, affects, when, remedy }) => {
    const condition = when === undefined ? '' : `, where ${WHEN[when]}`;
    const complain = used && when === undefined ? fail : warn;
    return complain(`${path} ${version} has ${id} (${affects}${condition})`, remedy);
  });
  return results.length > 0 ? results : [ok(`${path} ${version}`)];
}

const WHEN = { enablePci: 'enablePci is set', restore: 'VMs start from snapshots' } as const;

async function checkQemu(host: Host): Promise<Result> {
  const [{ vmm, qemu }, kvm] = await Promise.all([programsOf(host), host.kvmProblem()]);
  if (qemu === undefined) {
    return info(vmm === 'firecracker' ? 'not installed: Firecracker runs the guests' : 'not installed');
  }
  if (qemu.problem !== undefined) {
    return (vmm === 'qemu' ? fail : info)(`${qemu.path} does not say its version: ${qemu.problem}`, 'install it anew');
  }
  const what = `${qemu.path} ${qemu.version}, accelerator`;
  if (kvm === undefined) {
    return ok(`${what} KVM`);
  }
  const tcg = `${what} TCG: emulation, which its developers do not hold to be a security boundary`;
  return vmm === 'qemu' ? warn(tcg, 'for code that is not trusted: a host whose KVM can run guests') : info(tcg);
}

async function checkOci(host: Host): Promise<Result> {
  const tools = ['skopeo', 'umoci'];
  const paths = await Promise.all(tools.map((tool) => host.which(tool)));
  const missing = tools.filter((_tool, index) => paths[index] === undefined);
  return missing.length === 0
    ? ok(paths.join(', '))
    : info(
        `not installed: ${missing.join(', ')}; images of registries cannot be pulled`,
        `apt-get install ${missing.join(' ')}`,
      );
}
