import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, vi } from 'vitest';
import type { JailOptions } from '../../ts/config/jail.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { ToyBench, VMMS, type VmmAtHand } from './toy-vm.js';

/** This program's, and below those of the default range, so that no other jail of this machine has one. */
export const TEST_UIDS = { first: 1_880_000_000 + (process.pid % 10_000) * 1_000, count: 1_000 };

const isRoot = process.getuid?.() === 0;

/** Where the toy guest can run in a jail. */
export const CAN_JAIL = isRoot && process.arch === 'x64';

/** Those whose jails are tested, which takes root. */
export const JAILED_VMMS = VMMS.filter(({ jail }) => jail || !isRoot);

/** Says in a suite's title what is left out. */
export const LEFT_OUT =
  isRoot && JAILED_VMMS.length === 2 ? '' : ' (needs root; Firecracker: SMARTVM_FIRECRACKER with its jailer)';

/** VMs whose leases are in the bench's own directory, by uids that no others have. */
export async function openJailBench(vmm: VmmAtHand, jail: JailOptions = {}): Promise<ToyBench> {
  const bench = await ToyBench.open({ ...vmm, jail: { uidRange: TEST_UIDS, ...jail } });
  vi.stubEnv('SMARTVM_RUNTIME_DIR', bench.scratch.file('host'));
  return bench;
}

/** Such a bench for each test of a suite, which fails where its VMs have left anything on the host. */
export function jailBenchForEach(vmm: VmmAtHand): () => ToyBench {
  let bench: ToyBench;
  beforeEach(async () => {
    bench = await openJailBench(vmm);
  });
  afterEach(async () => {
    const remains = await remainsOf(bench);
    await bench[Symbol.asyncDispose]();
    vi.unstubAllEnvs();
    expect(remains).toEqual([]);
  });
  return () => bench;
}

export async function uidOf(vm: MicroVM): Promise<number> {
  return (await stat(`/proc/${vm.pid}`)).uid;
}

/** The processes that run by a uid, or by any of {@link TEST_UIDS}; not those that wait to be reaped. */
export async function pidsOf(uid?: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const fields = await Promise.all(pids.map(fieldsOf));
  const isMeant = (text: string) => (uid === undefined ? isTestUid(text) : text === `${uid}`);
  const runs = ({ State = '', Threads }: Record<string, string>) => !State.startsWith('Z') || Threads !== '1';
  return pids
    .filter((_, index) => fields.slice(index, index + 1).some((one) => runs(one) && one.Uid?.split('\t').some(isMeant)))
    .map(Number);
}

function isTestUid(text: string): boolean {
  const { first, count } = TEST_UIDS;
  return Number(text) >= first && Number(text) < first + count;
}

/** proc_pid_status(5), of a process or of a thread of it (`PID/task/TID`). */
export async function fieldsOf(pid: number | string): Promise<Record<string, string>> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Object.fromEntries([...status.matchAll(/^(\w+):[\t ]*(.*?)\s*$/gm)].map(([, name, value]) => [name, value]));
}

/** The name of what a process executes. */
export async function programOf(pid: number): Promise<string> {
  return basename(await readlink(`/proc/${pid}/exe`)).replace(/ \(deleted\)$/, '');
}

/** Soft and hard limit of a process, as /proc names it. */
export async function limitOf(pid: number, name: string): Promise<string[]> {
  const limits = await readFile(`/proc/${pid}/limits`, 'utf8');
  return new RegExp(`^${name}\\s+(\\S+)\\s+(\\S+)`, 'm').exec(limits)?.slice(1) ?? [];
}

/** The directories of a process's cgroups, by controller (v1's names), and `v2` for all of that hierarchy. */
export async function cgroupsOf(pid: number): Promise<Record<string, string>> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(/ - | /));
  const found: Record<string, string> = {};
  for (const line of (await readFile(`/proc/${pid}/cgroup`, 'utf8')).trim().split('\n')) {
    const [, names = '', path = ''] = line.split(':');
    for (const name of names === '' ? ['v2'] : names.split(',')) {
      const at = mounts.find((fields) =>
        name === 'v2'
          ? fields.includes('cgroup2')
          : fields.includes('cgroup') && fields.at(-1)?.split(',').includes(name),
      )?.[4];
      found[name] = join(at ?? '', path);
    }
  }
  return found;
}

/** Runs a program by a uid, without a group or capability more. */
export async function runBy(uid: number, ...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const ids = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  return await new Promise((resolve) => {
    execFile('setpriv', [...ids, ...argv], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

/** All of a file that a jail must not change. */
export async function sealOf(path: string): Promise<object> {
  const { uid, gid, mode, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  const sha256 = createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
  return { sha256, uid, gid, mode, mtimeNs, ctimeNs };
}

/** What jailed VMs have anywhere on the host: nothing, when all have ended. */
export async function remainsOf(bench: ToyBench): Promise<string[]> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  return [
    ...(await pidsOf()).map((pid) => `process ${pid}`),
    ...(await cgroupNames()).filter((name) => isTestUid(name.split('.').at(-1) ?? '')),
    ...mounts.filter((line) => line.includes(bench.runtimeDir)),
    ...(await readdir(bench.scratch.file('host', '.leases', 'uid')).catch(() => [])).filter((name) => name !== '.lock'),
    ...(await bench.leftovers()),
  ];
}

async function cgroupNames(): Promise<string[]> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).matchAll(/^(?:\S+ ){4}(\S+) .* - cgroup2? /gm);
  const parents = [...mounts].map(([, at = '']) => join(at, 'smartvm'));
  return (await Promise.all(parents.map((at) => readdir(at).catch(() => [])))).flat();
}
