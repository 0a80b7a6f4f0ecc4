import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { type AttachOptions, type AttachReport, vmToAttach } from './attach.js';
import { assertCapacityDemand, assertCapacityOptions } from './config/capacity.js';
import { defaultDataDir, defaultRuntimeDir } from './config/directories.js';
import { assertVmId } from './config/ids.js';
import { assertJailOptions, type JailOptions } from './config/jail.js';
import { publishedPorts } from './config/publish.js';
import type { IMicroVMConfig, IRestoredMicroVMConfig } from './config/types.js';
import type { Finding } from './doctor/finding.js';
import { SmartVMError } from './errors.js';
import { BaseImageManager } from './images/base-image-manager.js';
import { ImageManager } from './images/image-manager.js';
import { pruneData } from './images/prune.js';
import {
  assertLaunch,
  DEFAULT_IMAGE,
  imageReference,
  type LaunchOptions,
  launchConfig,
  prepareFiles,
  vmOptionsOf,
} from './launch.js';
import { Layers } from './layers.js';
import { connectorFor } from './network/connector.js';
import { NetworkManager } from './network/network-manager.js';
import { Networks } from './network/networks.js';
import { vmAccess } from './network/vm-access.js';
import type { SmartVMOptions } from './options.js';
import { linkSignals } from './util/deadline.js';
import { ensurePrivateDirectory } from './util/private-directory.js';
import { currentProcess } from './util/process-identity.js';
import { assertSocketPath } from './util/socket-path.js';
import { MicroVM } from './vm/micro-vm.js';
import type { CreateVMOptions } from './vm/types.js';
import { hostLimits } from './vmm/capacity/amounts.js';
import { demandOf } from './vmm/capacity/demand.js';
import { HostCapacity } from './vmm/capacity/host-capacity.js';
import { findVmm } from './vmm/find.js';
import { isHolderAlive } from './vmm/holder.js';
import { hostArch } from './vmm/host.js';
import { jailOf } from './vmm/jail/jail.js';
import { jailPolicy } from './vmm/jail/policy.js';
import { Launchers } from './vmm/launchers.js';
import { findRecord } from './vmm/registry/find-record.js';
import { nameClaimerFor } from './vmm/registry/names.js';
import { type PruneOptions, type PruneReport, prune, sweep } from './vmm/registry/prune.js';
import { type RecordEntry, scanRecords } from './vmm/registry/scan.js';
import { releasesIn } from './vmm/release-binaries.js';
import { vmmFolder } from './vmm/vm-folder.js';

export type { SmartVMOptions } from './options.js';
export type { CreateVMOptions } from './vm/types.js';

/** The composition root: images, network and the VMs that this program made. */
export class SmartVM implements AsyncDisposable {
  readonly imageManager: ImageManager;
  readonly baseImageManager: BaseImageManager;
  readonly networkManager: NetworkManager;
  /** The networks that VMs of all programs share. */
  readonly networks: Networks;
  /** What VMs write, and what is kept of it. */
  readonly layers: Layers;
  readonly #options: SmartVMOptions;
  readonly #runtimeDir: string;
  readonly #dataDir: string;
  readonly #jail: JailOptions | undefined;
  readonly #vms = new Map<string, MicroVM>();
  readonly #capacity: HostCapacity | undefined;
  #sweep: Promise<unknown> | undefined;
  readonly #launchers = new Launchers();
  readonly #launches = new Map<Promise<MicroVM>, AbortController>();

  /** Makes nothing on disk. @throws SmartVMError INVALID_SUBNET, INVALID_INTERFACE_NAME, INVALID_OPTION */
  constructor(options: SmartVMOptions = {}) {
    assertCapacityOptions(options.capacity ?? {});
    assertJailOptions(options.jail ?? true);
    this.#options = options;
    this.#jail = jailPolicy(options.jail);
    this.#runtimeDir = resolve(options.runtimeDir ?? defaultRuntimeDir()); // other programs are to find it by its name
    const dataDir = options.dataDir ?? defaultDataDir();
    this.#dataDir = dataDir;
    const arch = options.arch ?? hostArch();
    this.imageManager = new ImageManager({ cacheDir: join(dataDir, 'images'), arch, releases: releasesIn(dataDir) });
    this.baseImageManager = new BaseImageManager({
      cacheDir: join(dataDir, 'base-images'),
      arch,
      runtimeDir: this.#runtimeDir,
    });
    this.layers = new Layers(this.#runtimeDir, join(dataDir, 'layers'), this.imageManager.cacheDir);
    this.#capacity = options.capacity === false ? undefined : new HostCapacity(options.capacity);
    this.networkManager = new NetworkManager({
      ...(options.subnet === undefined ? {} : { subnet: options.subnet }),
      ...(options.bridgeName === undefined ? {} : { bridgeName: options.bridgeName }),
    });
    const { bridgeName: bridge, subnet: ipv4 } = this.networkManager;
    this.networks = new Networks({ dataDir, bridge, ipv4, isHeld: isHolderAlive });
  }

  /** How many VMs of this program have not ended. */
  get vmCount(): number {
    return this.#vms.size;
  }

  /** Their ids. */
  listVMs(): string[] {
    return [...this.#vms.keys()];
  }

  getVM(id: string): MicroVM | undefined {
    return this.#vms.get(id);
  }

  /**
   * A VM from a configuration of one's own, kernel, drives and all; or, with `restore`, from a snapshot. Nothing runs until
   * its `start()`.
   * @throws SmartVMError INVALID_ID, INVALID_CONFIG, INVALID_OPTION, VM_EXISTS, SOCKET_PATH_TOO_LONG, VMM_NOT_FOUND, DIRECTORY_UNSAFE
   */
  async createVM(config: IMicroVMConfig | IRestoredMicroVMConfig, options: CreateVMOptions = {}): Promise<MicroVM> {
    const id = config.id ?? newId();
    const runtimeDir = this.#directoryFor(id);
    const socketPath = join(vmmFolder(runtimeDir), 'api.sock');
    assertSocketPath(socketPath);
    const vmm = await findVmm(this.#options);
    assertCapacityDemand(options.capacity ?? {});
    const vm: MicroVM = new MicroVM(id, config, vmm.path, socketPath, this.networkManager, {
      ...options,
      runtimeDir,
      vmmKind: vmm.kind,
      launchers: this.#launchers,
      confine: this.#jail && jailOf(vmm, this.#jail),
      reserve: this.#capacity?.reserverFor({ id, runtimeDir }, () =>
        demandOf({ config: vm.config.config, restore: options.restore, said: options.capacity }, vmm.kind),
      ),
      claimName: nameClaimerFor({ id, runtimeDir }, options.name),
      networkAccess: vmAccess(this.networks, { id, runtimeDir }),
      connect: connectorFor(this.networks, { id, runtimeDir }, options.networks, {
        ports: publishedPorts(options.publish ?? []),
        hasUserNetworking: vmm.kind === 'qemu',
      }),
    });
    vm.assertValid();
    await ensurePrivateDirectory(this.#runtimeDir);
    this.#directoryFor(id); // once more: others may have taken the id meanwhile
    this.#add(vm);
    const clearUp = () => sweep(this.#runtimeDir).then(() => this.layers.prune());
    this.#sweep ??= clearUp().catch(() => undefined); // prune() reports it
    return vm;
  }

  /**
   * Boots a VM from an image and waits until commands can run in it.
   * @throws SmartVMError INVALID_ID, INVALID_OPTION, MEMORY_EXCEEDED, IMAGE_UNKNOWN, VMM_NOT_FOUND before anything is made;
   *   IMAGE_BUILD_FAILED, NAME_TAKEN, EXEC_FAILED, CAPACITY_EXCEEDED, BOOT_TIMEOUT, VMM_EXITED, CANCELED and the like with everything undone
   */
  async launch(options: LaunchOptions = {}): Promise<MicroVM> {
    const abort = new AbortController();
    using linked = linkSignals([options.signal, abort.signal]);
    const launch = this.#launch({ ...options, signal: linked.signal });
    this.#launches.set(launch, abort);
    try {
      return await launch;
    } finally {
      this.#launches.delete(launch);
    }
  }

  async #launch(options: LaunchOptions): Promise<MicroVM> {
    const id = options.id ?? newId();
    const directory = this.#directoryFor(id);
    assertLaunch(options, this.#capacity?.limits ?? hostLimits());
    const { signal } = options;
    const resolving = { signal, onProgress: options.onProgress, refresh: options.pull === 'always' };
    await findVmm(this.#options); // before an image is built in vain
    const holder = { id, runtimeDir: directory, owner: currentProcess() };
    const reference = (await this.layers.imageOf(options)) ?? imageReference(options.image) ?? DEFAULT_IMAGE;
    await using held = await this.imageManager.hold(reference, holder, resolving);
    const { image, manifest } = held;
    const layer = await this.layers.plan(id, options, image);
    const vm = await this.createVM(launchConfig(id, directory, options, image, layer), {
      ...vmOptionsOf(options, image.name),
      imageConfig: image.config,
      claim: this.layers.claim(layer, manifest),
      prepare: (_directory, _signal, attachments) =>
        prepareFiles(id, directory, { options, image, layer, attachments }, () => this.layers.fill(layer, image)),
    });
    await vm.start({ signal, timeoutMs: options.startTimeoutMs, queueMs: options.queueMs });
    return vm;
  }

  /**
   * Looks at this host, at what SmartVM needs of it, and at the wall around the VMs that run below this runtime directory.
   * Changes nothing. What each finding is about: docs/doctor.md.
   */
  async doctor(): Promise<Finding[]> {
    const { diagnose } = await import('./doctor/diagnose.js');
    const { dataDir, vmm, firecrackerBinaryPath } = this.#options;
    return await diagnose({ dataDir, vmm, firecrackerBinaryPath, runtimeDir: this.#runtimeDir });
  }

  /**
   * A VM that runs, whatever program started it: this one can do with it all that that one could. Disposing of it lets go of it and
   * never ends it; its `stop()` does, and releases what it held of the host. One that this program has already is given as it is.
   * @throws SmartVMError VM_NOT_FOUND, RECORD_UNREADABLE; INVALID_STATE while it is being started; KEEPER_FAILED, CANCELED
   */
  async attach(id: string, options: AttachOptions = {}): Promise<MicroVM> {
    const own = this.#vms.get(id);
    if (own && own.state !== 'created' && own.state !== 'starting') {
      return own;
    }
    return await this.#attach(await findRecord(id, this.#directoryFor(id)), options);
  }

  /** Attaches to every VM that runs below this runtime directory. One to which that cannot be done hinders no other. */
  async attachAll(options: AttachOptions = {}): Promise<AttachReport> {
    const { records, unreadable } = await scanRecords(this.#runtimeDir);
    const others = records.filter(({ record }) => !this.#vms.has(record.id));
    const results = await Promise.allSettled(others.map((entry) => this.#attach(entry, options)));
    const vms = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failed = results.flatMap((result, index) =>
      result.status === 'rejected' ? [{ id: others[index]?.record.id ?? '', error: result.reason }] : [],
    );
    return { vms, failed, unreadable };
  }

  async #attach(entry: RecordEntry, options: AttachOptions): Promise<MicroVM> {
    const vm = await vmToAttach(entry, this.networkManager, this.networks);
    this.#directoryFor(vm.id); // once more: it may have been attached to meanwhile
    this.#add(vm);
    await vm.start({ signal: options.signal, timeoutMs: options.startTimeoutMs });
    return vm;
  }

  /**
   * Undoes what dead VMs have left: processes, TAPs, sockets, cgroups, leases, directories, exited VMs' too. Each is proven to be such
   * a VM's; what SmartVM did not make is never touched. The first VM that a SmartVM makes does this beside its start, but for the
   * leases, which whoever needs one takes over, and for what can be read of exited VMs.
   * @throws SmartVMError DIRECTORY_UNSAFE, TOOL_MISSING, TOOL_FAILED
   */
  async prune(options: PruneOptions = {}): Promise<PruneReport> {
    const report = await prune(this.#runtimeDir, options); // first: images and layers may be those of dead VMs
    const layers = await this.layers.prune(options.dryRun);
    return { ...report, others: [...report.others, ...layers, ...(await pruneData(this.#dataDir, this, options))] };
  }

  /**
   * Ends every VM of this program, those that are being launched too, and waits until all they held is released. Those that are
   * detached or attached to live on: they are let go of.
   * @throws SmartVMError CLEANUP_FAILED when something could not be released; the rest is
   */
  async cleanup(): Promise<void> {
    for (const abort of this.#launches.values()) {
      abort.abort();
    }
    await Promise.allSettled(this.#launches.keys()); // launch() reports it
    const results = await Promise.allSettled([...this.#vms.values()].map((vm) => vm[Symbol.asyncDispose]()));
    this.#vms.clear();
    await Promise.all([this.#sweep, this.#launchers.close()]);
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    if (errors.length > 0) {
      const cause = new AggregateError(errors);
      throw new SmartVMError('CLEANUP_FAILED', `cleaning up failed: ${errors.join('; ')}`, { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cleanup();
  }

  #directoryFor(id: string): string {
    assertVmId(id);
    if (this.#vms.has(id)) {
      throw new SmartVMError('VM_EXISTS', `this program has a VM ${id} already`, { details: { id } });
    }
    return join(this.#runtimeDir, id);
  }

  /** A VM is on the list until it has ended, whichever way. */
  #add(vm: MicroVM): void {
    this.#vms.set(vm.id, vm);
    vm.on('state', (state) => {
      if ((state === 'stopped' || state === 'failed') && this.#vms.get(vm.id) === vm) {
        this.#vms.delete(vm.id);
      }
    });
    vm.on('released', () => this.#vms.get(vm.id) === vm && this.#vms.delete(vm.id));
  }
}

function newId(): string {
  return `vm-${randomBytes(5).toString('hex')}`;
}
