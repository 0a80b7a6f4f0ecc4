import { existsSync } from 'node:fs';
import { chmod, chown, lchown, mkdir, open, readdir, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { HostPath } from '../../config/host-paths.js';
import { DEFAULT_UID_RANGE, type JailOptions } from '../../config/jail.js';
import { SmartVMError } from '../../errors.js';
import { CleanupStack } from '../../util/cleanup-stack.js';
import { currentProcess } from '../../util/process-identity.js';
import { run } from '../../util/run.js';
import type { Confine, Confinement, ConfineRequest } from '../confinement.js';
import type { Vmm } from '../find.js';
import { findJailer } from '../jailer.js';
import { openLeaseDirectory } from '../lease-directory.js';
import { vmmFolder } from '../vm-folder.js';
import { makeCgroups } from './cgroups.js';
import { cgroupLimits } from './limits.js';
import { assertStatic } from './static-executable.js';
import { leaseUid } from './uid-lease.js';
import { firecrackerView, isCovered, type JailSpec, qemuView, type View } from './view.js';

/** The way into a jail for every VM of a VMM. */
export function jailOf(vmm: Vmm, options: JailOptions): Confine {
  return (request) => new Jail(vmm, options, request).prepare();
}

/** The jail of one VM: its uid, its cgroups and its view of the host, for the keeper to put the VMM in. */
class Jail {
  readonly #vmm: Vmm;
  readonly #options: JailOptions;
  readonly #request: ConfineRequest;
  readonly #folder: string;
  readonly #cleanup = new CleanupStack();

  constructor(vmm: Vmm, options: JailOptions, request: ConfineRequest) {
    this.#vmm = vmm;
    this.#options = options;
    this.#request = request;
    this.#folder = vmmFolder(request.runtimeDir);
  }

  /** @throws SmartVMError UID_EXHAUSTED, CGROUP_UNAVAILABLE, JAILER_MISSING, JAILER_MISMATCH, JAIL_FAILED, JAIL_PATH_UNREADABLE, CANCELED */
  async prepare(): Promise<Confinement> {
    try {
      return await this.#prepare();
    } catch (error) {
      await this.#cleanup.unwind().catch(() => undefined); // the first failure is the one to tell
      throw error;
    }
  }

  async #prepare(): Promise<Confinement> {
    const { id, runtimeDir, signal } = this.#request;
    const jailer = this.#vmm.kind === 'firecracker' ? await this.#findJailer() : '';
    const uid = await this.#leaseUid();
    const paths = await this.#paths(uid);
    const base = join(runtimeDir, 'jail');
    await mkdir(base, { mode: 0o700 });
    const limits = this.#options.limits ?? {};
    const request = { id, executable: this.#vmm.path, uid, base, paths, limits };
    const view = this.#vmm.kind === 'firecracker' ? firecrackerView(request, jailer) : qemuView(request);
    const cgroups = await this.#makeCgroups(uid, paths);
    await this.#makeTaps(uid);
    signal.throwIfAborted();
    const stderrPath = join(this.#folder, 'stderr');
    const specPath = join(runtimeDir, 'jail.json');
    await writeFile(specPath, JSON.stringify(this.#spec(view, uid, base, cgroups, stderrPath)), { mode: 0o600 });
    return {
      uid,
      specPath,
      stderrPath,
      command: view.command,
      own: () => ownEntries(this.#folder, uid),
      seal: () => seal(this.#folder),
      release: () => this.#cleanup.unwind(),
    };
  }

  async #findJailer(): Promise<string> {
    if (!existsSync(this.#vmm.path)) {
      throw new SmartVMError('VMM_SPAWN_FAILED', `${this.#vmm.path} could not be started: there is no such file`);
    }
    await assertStatic(this.#vmm.path);
    const { jailerBinaryPath } = this.#options;
    return (await findJailer(this.#vmm.path, { jailerBinaryPath, signal: this.#request.signal })).path;
  }

  async #leaseUid(): Promise<number> {
    const { id, runtimeDir, signal } = this.#request;
    const { uid, release } = await leaseUid({
      leaseDir: await openLeaseDirectory('uid'),
      range: this.#options.uidRange ?? DEFAULT_UID_RANGE,
      holder: { id, runtimeDir, owner: await currentProcess() },
      signal,
    });
    this.#cleanup.push('uid', release);
    return uid;
  }

  /** The VM's own folder, and what else the VMM opens. */
  async #paths(uid: number): Promise<HostPath[]> {
    await chown(this.#folder, uid, uid);
    const others = this.#request.paths.filter(({ path }) => path !== this.#folder && !isCovered(path, this.#folder));
    for (const { path, access } of others) {
      assertAbsolute(path);
      if (access === 'create') {
        await makeFile(path);
      }
    }
    // Of one that does not exist, the VMM says so.
    return [{ path: this.#folder, access: 'write' }, ...others.filter(({ path }) => existsSync(path))];
  }

  async #makeCgroups(uid: number, paths: readonly HostPath[]): Promise<readonly string[]> {
    if (this.#options.cgroups === 'none') {
      return [];
    }
    const { id, guest } = this.#request;
    const limits = cgroupLimits(this.#vmm.kind, guest, this.#options.limits ?? {}, paths);
    const { directories, remove } = await makeCgroups(`${id}.${uid}`, limits);
    this.#cleanup.push('cgroups', remove);
    return directories;
  }

  /** As a VMM of root's does it: a TAP that is not there is made, and goes with the VM. */
  async #makeTaps(uid: number): Promise<void> {
    for (const tap of this.#request.taps.filter((name) => !existsSync(`/sys/class/net/${name}`))) {
      await run('ip', ['tuntap', 'add', 'dev', tap, 'mode', 'tap', 'user', String(uid), 'vnet_hdr']);
      this.#cleanup.push(`tap ${tap}`, () => run('ip', ['link', 'delete', 'dev', tap]));
    }
  }

  #spec(view: View, uid: number, base: string, cgroups: readonly string[], stderrFifo: string): JailSpec {
    const { root, mounts, links, enter } = view;
    const { taps } = this.#request;
    return {
      ...{ base, root, uid, gid: uid, mounts, cgroups, taps, stderrFifo, enter, ...(links ? { links } : {}) },
      // A TAP is of the network that it was made in.
      privateNetwork: taps.length === 0,
    };
  }
}

async function makeFile(path: string): Promise<void> {
  const file = await open(path, 'a', 0o600).catch(() => undefined); // where none can be made, the VMM says so
  await file?.close();
}

/** What was made for the VMM in its folder becomes its own. */
async function ownEntries(folder: string, uid: number): Promise<void> {
  await Promise.all((await readdir(folder)).map((name) => lchown(join(folder, name), uid, uid)));
}

/** From here on the VMM makes nothing new where the host connects: no link to elsewhere under the name of a socket. */
async function seal(folder: string): Promise<void> {
  await chown(folder, 0, 0);
  await chmod(folder, 0o711);
}

function assertAbsolute(path: string): void {
  if (!isAbsolute(path)) {
    throw new SmartVMError(
      'JAIL_PATH_UNREADABLE',
      `${path} is relative, which means nothing in a jail; give it from the root on`,
    );
  }
}
