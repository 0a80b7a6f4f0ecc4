import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { IMicroVMConfig } from '../../ts/config/types.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { isAlive, type ProcessIdentity } from '../../ts/util/process-identity.js';
import { cgroupsNamed } from '../../ts/vmm/jail/cgroups.js';
import { readRecord } from '../../ts/vmm/registry/record-file.js';
import type { ManagerOrder, ManagerWord } from '../fixtures/manager.js';
import { processesNaming, until } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';
import { compileToyGuest } from './toy-guest.js';
import type { VmmAtHand } from './toy-vm.js';

/** A program with VMs that can be killed. */
export class Manager implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(order: ManagerOrder, runtimeRoot: string) {
    this.#child = fork(join(PACKAGE_ROOT, 'test/fixtures/manager.ts'), [JSON.stringify(order)], {
      cwd: PACKAGE_ROOT,
      execArgv: ['--import', 'tsx'],
      // Leases of these programs are no others'.
      env: { ...process.env, SMARTVM_RUNTIME_DIR: runtimeRoot },
    });
    this.#ended = once(this.#child, 'exit');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Undefined when it ended itself first. */
  async word(): Promise<ManagerWord | undefined> {
    const said = once(this.#child, 'message').then(([word]) => word as ManagerWord);
    return await Promise.race([said, this.#ended.then(() => undefined)]);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** A place for the VMs of several programs, and what they leave on the host. */
export class ManagerBench implements AsyncDisposable {
  readonly scratch: ScratchDirectory;
  readonly #vmm: VmmAtHand;
  readonly #name = `t${randomBytes(4).toString('hex')}`;

  private constructor(vmm: VmmAtHand, scratch: ScratchDirectory) {
    this.#vmm = vmm;
    this.scratch = scratch;
  }

  static async open(vmm: VmmAtHand): Promise<ManagerBench> {
    const bench = new ManagerBench(vmm, await scratchDirectory());
    await compileToyGuest(bench.kernelImagePath);
    return bench;
  }

  get runtimeDir(): string {
    return this.scratch.file('run');
  }

  /** Where the VMs of its programs have what they write. */
  get layersFolder(): string {
    return this.scratch.file('data', 'layers', 'running');
  }

  get kernelImagePath(): string {
    return this.scratch.file('toy');
  }

  get options() {
    const { path, jail } = this.#vmm;
    const dataDir = this.scratch.file('data');
    return {
      dataDir,
      runtimeDir: this.runtimeDir,
      firecrackerBinaryPath: path,
      ...(jail === undefined ? {} : { jail }),
    };
  }

  /** Ids that no other test has. */
  id(number = 1): string {
    return `${this.#name}-${number}`;
  }

  directoryOf(id: string): string {
    return join(this.runtimeDir, id);
  }

  /** A VM that holds something of every kind. */
  config(id: string, part: Partial<IMicroVMConfig> = {}): IMicroVMConfig {
    const sockets = this.scratch.file(`${id}.sockets`); // a folder of its own, for a jailed VMM may change what is in it
    mkdirSync(sockets, { recursive: true });
    return {
      id,
      bootSource: { kernelImagePath: this.kernelImagePath },
      machineConfig: { memSizeMib: 32 },
      vsock: { guestCid: 3, udsPath: join(sockets, 'v.sock') },
      ...part,
    };
  }

  manager(order: Omit<ManagerOrder, 'smartvm'>): Manager {
    const { configs } = order;
    const layersFolder = this.layersFolder;
    return new Manager({ ...order, smartvm: this.options, ...(configs ? { layersFolder } : {}) }, this.runtimeDir);
  }

  async identitiesOf(id: string): Promise<{ keeper: ProcessIdentity; vmm: ProcessIdentity }> {
    const { processes } = await readRecord(this.directoryOf(id));
    if (!processes) {
      throw new Error(`the record of ${id} has no processes`);
    }
    return processes;
  }

  /** What is left of all VMs: files, sockets, leases, cgroups, TAPs and processes. */
  async leftovers(taps: readonly string[] = []): Promise<string[]> {
    const names = (await readdir(this.runtimeDir)).filter((name) => !['.leases', '.reclaim.lock'].includes(name));
    const leases = ['uid', 'capacity'].map((kind) => readdir(join(this.runtimeDir, '.leases', kind)).catch(() => []));
    const folders = (await readdir(this.scratch.path)).filter((name) => name.endsWith('.sockets'));
    const sockets = await Promise.all(folders.map((folder) => readdir(this.scratch.file(folder))));
    return [
      ...names,
      ...(await Promise.all(leases)).flat().filter((name) => name !== '.lock'),
      ...sockets.flat(),
      ...(await readdir(this.layersFolder).catch(() => [])).filter((name) => name !== '.lock'),
      ...(await this.#cgroups()),
      ...taps.filter((tap) => existsSync(`/sys/class/net/${tap}`)),
      ...(await processesNaming(this.scratch.path)),
    ];
  }

  async #cgroups(): Promise<string[]> {
    const parents = await cgroupsNamed('.'); // ours in each hierarchy
    const found = parents.map(async (parent) => (await readdir(parent)).filter((name) => name.startsWith(this.#name)));
    return (await Promise.all(found)).flat();
  }

  async cgroupsOf(id: string): Promise<string[]> {
    const { journal } = await readRecord(this.directoryOf(id));
    return journal.cgroup === undefined ? [] : await cgroupsNamed(journal.cgroup);
  }

  async ends(...processes: ProcessIdentity[]): Promise<void> {
    await until(async () => !(await Promise.all(processes.map(isAlive))).includes(true), 5_000, 'the end of processes');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await until(async () => (await processesNaming(this.scratch.path)).length === 0, 5_000, 'the end of all processes');
    await this.scratch[Symbol.asyncDispose]();
  }
}
