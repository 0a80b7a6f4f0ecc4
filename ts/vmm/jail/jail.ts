import { chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
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
import { cgroupName, makeCgroups } from './cgroups.js';
import { assertSocketsOnly, ownEntries, seal } from './folders.js';
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
    mkdirSync(base, { mode: 0o700 });
    const limits = this.#options.limits ?? {};
    const request = { id, executable: this.#vmm.path, uid, base, paths, limits };
    const view = this.#vmm.kind === 'firecracker' ? firecrackerView(request, jailer) : qemuView(request);
    const cgroup = this.#options.cgroups === 'none' ? undefined : cgroupName(id, uid);
    const taps = this.#request.taps.filter((name) => !existsSync(`/sys/class/net/${name}`));
    await this.#request.journal({ uid, cgroup, taps });
    const cgroups = cgroup === undefined ? [] : await this.#makeCgroups(cgroup, paths);
    await this.#makeTaps(taps, uid);
    signal.throwIfAborted();
    const stderrPath = join(this.#folder, 'stderr');
    const specPath = join(runtimeDir, 'jail.json');
    writeFileSync(specPath, JSON.stringify(this.#spec(view, uid, base, cgroups, stderrPath)), { mode: 0o600 });
    return {
      uid,
      specPath,
      stderrPath,
      command: view.command,
      own: () => ownEntries(this.#folder, uid),
      seal: () => seal(this.#folder, uid),
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
      holder: { id, runtimeDir, owner: currentProcess() },
      signal,
    });
    this.#cleanup.push('uid', release);
    return uid;
  }

  /** The VM's own folder, and what else the VMM opens. */
  async #paths(uid: number): Promise<HostPath[]> {
    chownSync(this.#folder, uid, uid);
    const others: HostPath[] = [];
    for (const { path, access } of this.#request.paths) {
      assertAbsolute(path);
      const clean = resolve(path);
      if (clean === this.#folder || isCovered(clean, this.#folder)) {
        continue;
      }
      if (access === 'create') {
        await makeFile(clean);
      }
      if (access === 'socket') {
        await assertSocketsOnly(clean);
      }
      others.push({ path: access === 'socket' ? dirname(clean) : clean, access });
    }
    // Of one that does not exist, the VMM says so.
    return [{ path: this.#folder, access: 'write' }, ...others.filter(({ path }) => existsSync(path))];
  }

  async #makeCgroups(name: string, paths: readonly HostPath[]): Promise<readonly string[]> {
    const { guest } = this.#request;
    const limits = cgroupLimits(this.#vmm.kind, guest, this.#options.limits ?? {}, paths);
    const { directories, remove } = await makeCgroups(name, limits);
    this.#cleanup.push('cgroups', remove);
    return directories;
  }

  /** As a VMM of root's does it: a TAP that is not there is made, and goes with the VM. */
  async #makeTaps(taps: readonly string[], uid: number): Promise<void> {
    for (const tap of taps) {
      await run('ip', ['tuntap', 'add', 'dev', tap, 'mode', 'tap', 'user', String(uid), 'vnet_hdr']);
      this.#cleanup.push(`tap ${tap}`, () => run('ip', ['link', 'delete', 'dev', tap]));
    }
  }

  #spec(view: View, uid: number, base: string, cgroups: readonly string[], stderrFifo: string): JailSpec {
    const { root, mounts, links, enter } = view;
    const { networkNamespace, needsHostNetwork } = this.#request;
    const taps = [...this.#request.taps, ...this.#request.lentTaps];
    return {
      ...{
        base,
        root,
        uid,
        gid: uid,
        mounts,
        cgroups,
        taps,
        networkNamespace,
        stderrFifo,
        enter,
        ...(links ? { links } : {}),
      },
      // A TAP is of the network that it was made in.
      privateNetwork: taps.length === 0 && networkNamespace === undefined && !needsHostNetwork,
    };
  }
}

async function makeFile(path: string): Promise<void> {
  const file = await open(path, 'a', 0o600).catch(() => undefined); // where none can be made, the VMM says so
  await file?.close();
}

function assertAbsolute(path: string): void {
  if (!isAbsolute(path)) {
    throw new SmartVMError(
      'JAIL_PATH_UNREADABLE',
      `${path} is relative, which means nothing in a jail; give it from the root on`,
    );
  }
}
