import { existsSync } from 'node:fs';
import { lstat, readFile, rm, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { SmartVMError } from '../../errors.js';
import { delay } from '../../util/deadline.js';
import { isHeldBy, isKept, leaseOf, releaseHeldFile } from '../../util/held-file.js';
import type { Holder } from '../../util/holder.js';
import { currentBootId } from '../../util/process-identity.js';
import { run } from '../../util/run.js';
import { cgroupsNamed, removeCgroup } from '../jail/cgroups.js';
import { vmmFolder } from '../vm-folder.js';
import { giveBackFiles, hasGivenBack } from './exited.js';
import { leasesOf } from './leases.js';
import { mountsBelow } from './mounts.js';
import { nameLeftBy } from './names.js';
import { networkLeftBy } from './network-remnants.js';
import { removeDirectory } from './passing-folder.js';
import { endLeft, processesLeft } from './processes.js';
import type { Journal, VmRecord } from './record.js';
import type { RecordEntry } from './scan.js';
import { journaledFolders } from './snapshot-journal.js';

/** Something of a VM that is still there, and how it is undone. */
export interface Remnant {
  readonly kind: 'process' | 'network' | 'tap' | 'socket' | 'folder' | 'layer' | 'cgroup' | 'lease' | 'directory';
  /** For people: a path, a name, a pid. */
  readonly name: string;
  readonly remove: () => Promise<unknown>;
}

const LET_GO_MS = 1_000;
const POLL_MS = 5;

/**
 * What is left of a dead VM, in the order in which it is undone: each is proven to be the VM's, whatever has its name by now. After a
 * reboot there are only files. The directory comes last, for it is what tells of the rest.
 * @param stays whether the VM stays to be read, and only gives back what is big or scarce
 */
export async function remnantsOf({ runtimeDir, record }: RecordEntry, stays = false): Promise<Remnant[]> {
  const rest = existsSync(runtimeDir) && !(stays && hasGivenBack(runtimeDir)) ? [directoryOf(runtimeDir, stays)] : [];
  // What it had of the host is by now others', whatever its journal says.
  return hasGivenBack(runtimeDir) ? rest : [...(await holdingsOf(runtimeDir, record)), ...rest];
}

function directoryOf(runtimeDir: string, stays: boolean): Remnant {
  return stays
    ? { kind: 'directory', name: vmmFolder(runtimeDir), remove: () => giveBackFiles(runtimeDir) }
    : { kind: 'directory', name: runtimeDir, remove: () => removeDirectory(runtimeDir) };
}

/** What it has of the host outside its directory. */
async function holdingsOf(runtimeDir: string, record: VmRecord): Promise<Remnant[]> {
  const { id, owner, journal } = record;
  const holder = { id, runtimeDir, owner };
  const sameBoot = owner.bootId === currentBootId();
  const processes = sameBoot ? await processesLeft(record, holder) : [];
  const sockets = journal.sockets.map((path) => socketOf(path, processes.length > 0));
  return [
    ...processes.map((one): Remnant => ({ kind: 'process', name: `${one.pid}`, remove: () => endLeft(one) })),
    ...(sameBoot ? await devicesAndCgroups(journal) : []),
    ...(await Promise.all(sockets)).flat(),
    ...(await Promise.all((await journaledFolders(runtimeDir)).map(snapshotFolder))).flat(),
    ...(await layersOf(journal, holder)),
    ...(await networkLeftBy(holder)),
    ...(await leasesOf(holder)),
    ...(await nameLeftBy(runtimeDir, record)),
  ];
}

async function devicesAndCgroups({ uid, cgroup, taps }: Journal): Promise<Remnant[]> {
  const cgroups = cgroup === undefined ? [] : await cgroupsNamed(cgroup);
  const own = await Promise.all(taps.map((tap) => isTapOf(tap, uid)));
  return [
    ...taps
      .filter((_tap, index) => own[index])
      .map((name): Remnant => ({ kind: 'tap', name, remove: () => removeTap(name) })),
    ...cgroups.map((name): Remnant => ({ kind: 'cgroup', name, remove: () => removeCgroup(name) })),
  ];
}

/** The kernel refuses it while somebody has the device open. */
async function removeTap(name: string): Promise<void> {
  await whenLetGo(() => run('ip', ['tuntap', 'del', 'dev', name, 'mode', 'tap']));
}

/** What a process had goes some moments after it: the kernel takes it apart when it counts as dead already. */
async function whenLetGo(remove: () => Promise<unknown>): Promise<void> {
  for (const deadline = performance.now() + LET_GO_MS; ; await delay(POLL_MS)) {
    try {
      await remove();
      return;
    } catch (error) {
      if (performance.now() > deadline) {
        throw error;
      }
    }
  }
}

/** A TAP that was made for a VM is its uid's; one of the same name that somebody else has made is not. */
async function isTapOf(tap: string, uid: number | undefined): Promise<boolean> {
  const owner = await readFile(`/sys/class/net/${tap}/owner`, 'utf8').catch(() => ''); // no TAP at all
  return uid !== undefined && owner.trim() === String(uid);
}

/** A socket on which nobody listens any more, or only who is about to be ended. */
async function socketOf(path: string, isVmLeft: boolean): Promise<Remnant[]> {
  const isSocket = (await lstat(path).catch(() => undefined))?.isSocket() ?? false;
  const remove = () => whenLetGo(() => assertRefuses(path)).then(() => unlink(path));
  const isLeft = async () =>
    isVmLeft ||
    (await whenLetGo(() => assertRefuses(path)).then(
      () => true,
      () => false,
    ));
  return isSocket && (await isLeft()) ? [{ kind: 'socket', name: path, remove }] : [];
}

/** @throws SmartVMError CLEANUP_FAILED while somebody listens */
async function assertRefuses(path: string): Promise<void> {
  const refusal = await new Promise<string | undefined>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code));
  });
  if (refusal !== 'ECONNREFUSED') {
    throw new SmartVMError('CLEANUP_FAILED', `somebody listens on ${path}`);
  }
}

/** Those that the VM has by its lease. Of one that is kept, only the lease goes. */
async function layersOf({ layers = [] }: Journal, holder: Holder): Promise<Remnant[]> {
  const own = await Promise.all(layers.map((path) => isHeldBy(path, holder)));
  return layers
    .filter((_path, index) => own[index])
    .map((path) => {
      const remove = () => releaseHeldFile(path, holder);
      return isKept(path) ? { kind: 'lease', name: leaseOf(path), remove } : { kind: 'layer', name: path, remove };
    });
}

async function snapshotFolder(path: string): Promise<Remnant[]> {
  const isFolder = (await lstat(path).catch(() => undefined))?.isDirectory() ?? false;
  return isFolder ? [{ kind: 'folder', name: path, remove: () => removeFolder(path) }] : [];
}

async function removeFolder(path: string): Promise<void> {
  if ((await mountsBelow(path)).length > 0) {
    throw new SmartVMError('CLEANUP_FAILED', `${path} stays: something is mounted in it; unmount it`);
  }
  await rm(path, { recursive: true, force: true });
}
