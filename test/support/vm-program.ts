import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { IMicroVMConfig } from '../../ts/config/types.js';
import type { SmartVMOptions } from '../../ts/smartvm.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import type { VmAnswer, VmCall, VmCalls } from '../fixtures/vm-program.js';
import { bundleProgram } from './bundle.js';
import { processesNaming, until } from './leftovers.js';
import { NetworkHost } from './network-host.js';
import { compileToyGuest } from './toy-guest.js';
import type { VmmAtHand } from './toy-vm.js';

/** A network namespace that takes the host's place, for programs with VMs of one VMM in it. */
export class VmHost implements AsyncDisposable {
  readonly net: NetworkHost;
  readonly #vmm: VmmAtHand;
  readonly #programs: VmProgram[] = [];

  private constructor(vmm: VmmAtHand, net: NetworkHost) {
    this.#vmm = vmm;
    this.net = net;
  }

  static async open(vmm: VmmAtHand): Promise<VmHost> {
    const host = new VmHost(vmm, await NetworkHost.open());
    const { scratch } = host.net;
    await Promise.all([
      bundleProgram('vm-program.ts', scratch.file('vm-program.mjs')),
      compileToyGuest(scratch.file('toy')),
    ]);
    return host;
  }

  get runtimeDir(): string {
    return this.net.scratch.file('run');
  }

  program(): VmProgram {
    return this.#start(this.net.scratch.path);
  }

  /** One that is this user's and no more, with directories of its own. */
  async programOf(uid: number): Promise<VmProgram> {
    const { scratch } = this.net;
    await chmod(scratch.path, 0o711);
    await mkdir(scratch.file('home'), { mode: 0o700 });
    await chown(scratch.file('home'), uid, uid);
    return this.#start(scratch.file('home'), uid);
  }

  #start(home: string, uid?: number): VmProgram {
    const { path, jail } = this.#vmm;
    const runtimeDir = join(home, 'run');
    const options = {
      dataDir: join(home, 'data'),
      runtimeDir,
      firecrackerBinaryPath: path,
      jail: jail && uid === undefined ? ({ cgroups: 'none' } as const) : false, // `ip netns exec` hides the cgroups
    };
    const program = new VmProgram(this.net, options, { SMARTVM_RUNTIME_DIR: runtimeDir }, uid);
    this.#programs.push(program);
    return program;
  }

  /** A VM with the toy guest. */
  toy(id: string): IMicroVMConfig {
    return { id, bootSource: { kernelImagePath: this.net.scratch.file('toy') }, machineConfig: { memSizeMib: 32 } };
  }

  /** Directories of VMs, and what they have leased of networks. @param home of a user's program; default: root's */
  async holdings(home = ''): Promise<string[]> {
    const run = this.net.scratch.file(home, 'run');
    const vms = (await readdir(run)).filter((name) => !name.startsWith('.'));
    const leases = await readdir(join(run, '.leases', 'network')).catch(() => []);
    return [...vms, ...leases.filter((name) => name !== '.lock')];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.kill()));
    const gone = async () => (await processesNaming(this.net.scratch.path)).length === 0;
    await until(gone, 15_000, 'the end of all processes');
    await this.net[Symbol.asyncDispose]();
  }
}

export class VmProgram {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: VmAnswer) => void>();
  #serial = 0;

  constructor(host: NetworkHost, options: SmartVMOptions, env: NodeJS.ProcessEnv, uid?: number) {
    const user = uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
    this.#child = fork(host.scratch.file('vm-program.mjs'), [JSON.stringify(options)], {
      cwd: PACKAGE_ROOT,
      execPath: 'ip',
      execArgv: ['netns', 'exec', host.name, ...user, process.execPath],
      env: { ...process.env, ...env },
    });
    this.#child.on('message', (answer: VmAnswer) => this.#waiting.get(answer.serial)?.(answer));
  }

  /** @throws Error with the code and the details of the program's own */
  async call<Name extends keyof VmCalls>(
    name: Name,
    ...args: Parameters<VmCalls[Name]>
  ): Promise<Awaited<ReturnType<VmCalls[Name]>>> {
    const serial = ++this.#serial;
    const { value, error } = await new Promise<VmAnswer>((resolve) => {
      this.#waiting.set(serial, resolve);
      this.#child.send({ serial, name, args } satisfies VmCall);
    });
    if (error) {
      throw Object.assign(new Error(error.message), { code: error.code, details: error.details });
    }
    return value as Awaited<ReturnType<VmCalls[Name]>>;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
      await once(this.#child, 'exit');
    }
  }
}
