import type { Stats } from 'node:fs';
import { resolve } from 'node:path';
import { programPath } from '../../config/programs.js';
import { PACKAGE_ROOT } from '../../util/package-root.js';
import { shellWord } from '../../util/shell-word.js';
import { MAX_SOCKET_PATH_BYTES } from '../../util/socket-path.js';
import { type Check, fail, info, ok, type Result, warn } from '../finding.js';
import type { Host } from '../host.js';
import { modeFaults, ownerFaults, type PathFault, walkTo } from '../path-walk.js';
import { programsOf } from '../programs.js';

const MIB = 1024 * 1024;
/** Magic of a tmpfs (statfs(2)). */
const TMPFS = 0x01021994;
const FEW_INODES = 1_000;

/** What one needs in free space, in MiB: without the first nothing works, under the second it soon does not. */
const NEEDS = {
  data: { least: 64, enough: 2_048, what: 'images' },
  runtime: { least: 16, enough: 512, what: "what guests write (each VM's drive is a sparse file)" },
} as const;

/** The longest path of a socket below a VM's directory: a guest's connection to a port of the host. */
const LONGEST_SOCKET = 'vmm/vsock.sock_65535';
const LONGEST_ID = 64;
/** Ids that SmartVM makes. */
const OWN_ID = 'vm-0123456789'.length;

type Which = keyof typeof NEEDS;

export const DIRECTORY_CHECKS: readonly Check[] = [
  ...(['data', 'runtime'] as const).flatMap((which): Check[] => [
    {
      id: `${which}-directory`,
      area: 'directories',
      title: which === 'data' ? 'Data directory' : 'Runtime directory',
      about: `Owner and mode of the ${which} directory, and of every directory and link on the way to it: nobody but root and the user may be able to put another in its place. It can be made or written.`,
      run: (host) => checkDirectory(host, pathOf(host, which)),
    },
    {
      id: `${which}-space`,
      area: 'directories',
      title: which === 'data' ? 'Space for images' : 'Space for VMs',
      about: `Free space where the ${which} directory is: fails under ${NEEDS[which].least} MiB, warns under ${NEEDS[which].enough} MiB, or of fewer than ${FEW_INODES} inodes.`,
      run: (host) => checkSpace(host, which),
    },
  ]),
  {
    id: 'socket-paths',
    area: 'directories',
    title: 'Socket paths',
    about: `\`RUNTIME/ID/${LONGEST_SOCKET}\` fits the ${MAX_SOCKET_PATH_BYTES} bytes of a Unix socket's path with an id of ${LONGEST_ID} characters; if not, the longest id that does.`,
    run: async (host) => checkSocketPaths(host.runtimeDir),
  },
  {
    id: 'executables',
    area: 'directories',
    title: 'Programs',
    about:
      'Owner and mode of Node.js, of the programs of SmartVM, of Firecracker, jailer and QEMU, and of every directory on the way to them: nobody but root and the user may be able to change them.',
    source: 'https://github.com/firecracker-microvm/firecracker/blob/main/docs/prod-host-setup.md#jailer-configuration',
    run: checkExecutables,
  },
];

function pathOf(host: Host, which: Which): string {
  return which === 'data' ? host.dataDir : host.runtimeDir;
}

async function checkDirectory(host: Host, path: string): Promise<Result[]> {
  const { faults, stat, deepest, deepestStat } = await walkTo(host, path);
  const results = faults.map(resultOf);
  if (stat === undefined) {
    const code = await host.writeProblem(deepest);
    if (code !== undefined) {
      results.push(fail(`${path} is not there, and ${deepest} cannot be written (${code})`, makeIt(host, path)));
    } else if ((deepestStat?.mode ?? 0) & 0o002) {
      results.push(warn(`${path} is not there yet, and any user can make it first`, makeIt(host, path)));
    }
    return results.length > 0 ? results : [ok(`${path} is not there yet, and can be made`)];
  }
  const leaf = await leafResult(host, path, stat);
  return leaf.verdict === 'ok' && results.length > 0 ? results : [...results, leaf];
}

async function leafResult(host: Host, path: string, stat: Stats): Promise<Result> {
  const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
  if (!stat.isDirectory()) {
    const what = stat.isSymbolicLink() ? 'a link, which is not followed' : 'not a directory';
    return fail(`${path} is ${what}`, `name the directory itself, or remove it: rm ${shellWord(path)}`);
  }
  if (stat.uid !== host.uid) {
    return fail(`${path} belongs to uid ${stat.uid}, not to uid ${host.uid}`, `chown ${host.uid} ${shellWord(path)}`);
  }
  const [fault] = modeFaults(host, path, stat);
  if (fault !== undefined || stat.mode & 0o002) {
    return fail(`others can write to ${path} (mode ${mode})`, `chmod 700 ${shellWord(path)}`);
  }
  const code = await host.writeProblem(path);
  if (code !== undefined) {
    return fail(`${path} cannot be written (${code})`, 'mount its file system writable, or name another directory');
  }
  return stat.mode & 0o077
    ? info(
        `${path} is open to others (mode ${mode}); SmartVM closes it when it next runs a VM`,
        `chmod 700 ${shellWord(path)}`,
      )
    : ok(`${path}, mode ${mode}; no one else can replace it`);
}

const makeIt = (host: Host, path: string) =>
  host.isRoot ? `install -d -m 700 ${shellWord(path)}` : `as root: install -d -m 700 -o ${host.uid} ${shellWord(path)}`;

async function checkSpace(host: Host, which: Which): Promise<Result> {
  const { least, enough, what } = NEEDS[which];
  const path = pathOf(host, which);
  const { deepest, stat } = await walkTo(host, path);
  const at = stat?.isDirectory() ? path : deepest;
  const space = await host.space(at);
  if (space === undefined) {
    return warn(`the free space at ${at} is not to be learnt`);
  }
  const free = Math.floor((space.bavail * space.bsize) / MIB);
  const kind = space.type === TMPFS ? ', in memory (tmpfs)' : '';
  const detail = `${sizeOf(free)} free at ${at}${kind}`;
  const variable = which === 'data' ? 'SMARTVM_DATA_DIR' : 'SMARTVM_RUNTIME_DIR';
  const remedy = `free some, or name a directory elsewhere by ${variable}`;
  if (free < least) {
    return fail(`${detail}: too little for ${what}`, remedy);
  }
  if (free < enough) {
    return warn(`${detail}: little for ${what}`, remedy);
  }
  if (space.files > 0 && space.ffree < FEW_INODES) {
    return warn(`${detail}, but only ${space.ffree} inodes`, remedy);
  }
  return ok(detail);
}

function checkSocketPaths(runtimeDir: string): Result {
  const longest = MAX_SOCKET_PATH_BYTES - Buffer.byteLength(`${runtimeDir}//${LONGEST_SOCKET}`);
  if (longest >= LONGEST_ID) {
    return ok(`below ${runtimeDir} ids of ${LONGEST_ID} characters fit`);
  }
  const remedy = 'name a shorter directory by SMARTVM_RUNTIME_DIR';
  return longest < OWN_ID
    ? fail(`${runtimeDir} is so long that ids have ${Math.max(0, longest)} characters at most`, remedy)
    : warn(`${runtimeDir} is so long that ids have ${longest} characters at most, not ${LONGEST_ID}`, remedy);
}

async function checkExecutables(host: Host): Promise<Result[]> {
  const { firecracker, jailer, qemu } = await programsOf(host);
  const own = [
    process.execPath,
    resolve(PACKAGE_ROOT, 'bin/smartvm'),
    ...(['agent', 'confine', 'keeper', 'launch'] as const).map((program) => programPath(program)),
  ];
  const paths = [...own, ...[firecracker, jailer, qemu].flatMap((program) => program?.path ?? [])];
  const faults = (await Promise.all(paths.map((path) => programFaults(host, path)))).flat();
  const each = [...new Map(faults.map((fault) => [fault.problem, resultOf(fault)])).values()];
  return each.length > 0 ? each : [ok('no one else can change the programs that SmartVM runs')];
}

/** The first on the way: what comes behind it is as open as it is. */
async function programFaults(host: Host, path: string): Promise<PathFault[]> {
  const { faults, stat } = await walkTo(host, path, 'follow');
  const own = stat === undefined ? [] : [...ownerFaults(host, path, stat, 'file'), ...modeFaults(host, path, stat)];
  return [...faults, ...own].slice(0, 1);
}

function resultOf({ verdict, problem, remedy }: PathFault): Result {
  return (verdict === 'fail' ? fail : warn)(problem, remedy);
}

function sizeOf(mib: number): string {
  return mib < 10_240 ? `${mib} MiB` : `${Math.floor(mib / 1024)} GiB`;
}
