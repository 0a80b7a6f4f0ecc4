import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { IMicroVMConfig } from '../../ts/config/types.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { isAlive, type ProcessIdentity } from '../../ts/util/process-identity.js';
import { cgroupsNamed } from '../../ts/vmm/jail/cgroups.js';
import { readRecord } from '../../ts/vmm/registry/record-file.js';
import type { ChurnOrder, ChurnWord } from '../fixtures/churn.js';
import type { ManagerOrder, ManagerWord } from '../fixtures/manager.js';
import { bundleProgram } from './bundle.js';
import { processesNaming, until } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';
import { compileToyGuest } from './toy-guest.js';
import type { VmmAtHand } from './toy-vm.js';

const PROGRAMS = ['manager', 'churn'] as const;

/** A program of a test's own that can be killed. */
export class Program<Word> implements AsyncDisposable {
  /** All that it has said. */
  readonly words: Word[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<NodeJS.Signals | null>;

  /** @param namespace a network namespace that takes the host's place; by default it is the host */
  constructor(path: string, order: object, runtimeRoot: string, namespace?: string) {
    const inside = { execPath: 'ip', execArgv: ['netns', 'exec', `${namespace}`, process.execPath] };
    this.#child = fork(path, [JSON.stringify(order)], {
      cwd: PACKAGE_ROOT,
      ...(namespace === undefined ? { execArgv: [] } : inside),
      // Leases of these programs are no others'.
      env: { ...process.env, SMARTVM_RUNTIME_DIR: runtimeRoot },
    });
    this.#child.on('message', (word) => this.words.push(word as Word));
    // What it has said before its end comes behind it.
    const ends = Promise.all([once(this.#child, 'exit'), once(this.#child, 'disconnect')]);
    this.#ended = ends.then(([[, signal]]) => signal);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The first: undefined when it ended itself before. */
  async word(): Promise<Word | undefined> {
    const said = this.words.length > 0 ? undefined : once(this.#child, 'message');
    await Promise.race([said, this.#ended]);
    return this.words[0];
  }

  /** Tells it to begin. */
  go(): void {
    this.#child.send('go');
  }

  /** @returns the signal by which it has ended, now or before */
  async kill(): Promise<NodeJS.Signals | null> {
    this.#child.kill('SIGKILL');
    return await this.#ended;
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

  /** Until its end, leases of this program are below it too. */
  static async open(vmm: VmmAtHand): Promise<ManagerBench> {
    const bench = new ManagerBench(vmm, await scratchDirectory());
    vi.stubEnv('SMARTVM_RUNTIME_DIR', bench.runtimeDir);
    await Promise.all([
      compileToyGuest(bench.kernelImagePath),
      ...PROGRAMS.map((name) => bundleProgram(`${name}.ts`, bench.#programPath(name))),
    ]);
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

  manager(order: Omit<ManagerOrder, 'smartvm'>): Program<ManagerWord> {
    const { layersFolder } = this;
    const all = { ...(order.configs ? { layersFolder } : {}), ...order, smartvm: this.options };
    return new Program(this.#programPath('manager'), all, this.runtimeDir);
  }

  churn(order: Omit<ChurnOrder, 'smartvm'>): Program<ChurnWord> {
    return new Program(this.#programPath('churn'), { ...order, smartvm: this.options }, this.runtimeDir);
  }

  #programPath(name: (typeof PROGRAMS)[number]): string {
    return this.scratch.file(`${name}.mjs`);
  }

  async identitiesOf(id: string): Promise<{ keeper: ProcessIdentity; vmm: ProcessIdentity }> {
    const { processes } = await readRecord(this.directoryOf(id));
    if (!processes?.vmm) {
      throw new Error(`the record of ${id} has no VMM`);
    }
    return { keeper: processes.keeper, vmm: processes.vmm };
  }

  /** What is left of all VMs: files, sockets, leases, cgroups, TAPs and processes. */
  async leftovers(taps: readonly string[] = []): Promise<string[]> {
    const names = (await readdir(this.runtimeDir)).filter((name) => !['.leases', '.reclaim.lock'].includes(name));
    const leases = ['uid', 'capacity'].map((kind) => readdir(join(this.runtimeDir, '.leases', kind)).catch(() => []));
    const files = await readdir(this.scratch.path);
    const folders = files.filter((name) => name.endsWith('.sockets'));
    const sockets = await Promise.all(folders.map((folder) => readdir(this.scratch.file(folder))));
    return [
      ...names,
      ...files.filter((name) => name.startsWith('.smartvm-')), // of snapshots
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
    await until(
      async () => !(await Promise.all(processes.map(isAlive))).includes(true),
      30_000,
      'the end of processes',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    vi.unstubAllEnvs();
    await until(
      async () => (await processesNaming(this.scratch.path)).length === 0,
      30_000,
      'the end of all processes',
    );
    await this.scratch[Symbol.asyncDispose]();
  }
}
