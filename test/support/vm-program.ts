import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
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
    const { path, jail } = this.#vmm;
    const program = new VmProgram(this.net, {
      dataDir: this.net.scratch.file('data'),
      runtimeDir: this.runtimeDir,
      firecrackerBinaryPath: path,
      jail: jail ? { cgroups: 'none' } : false, // `ip netns exec` hides the cgroups
    });
    this.#programs.push(program);
    return program;
  }

  /** A VM with the toy guest. */
  toy(id: string): IMicroVMConfig {
    return { id, bootSource: { kernelImagePath: this.net.scratch.file('toy') }, machineConfig: { memSizeMib: 32 } };
  }

  /** Directories of VMs, and what they have leased of networks. */
  async holdings(): Promise<string[]> {
    const vms = (await readdir(this.runtimeDir)).filter((name) => !name.startsWith('.'));
    const leases = await readdir(this.net.scratch.file('run', '.leases', 'network')).catch(() => []);
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

  constructor(host: NetworkHost, options: SmartVMOptions) {
    this.#child = fork(host.scratch.file('vm-program.mjs'), [JSON.stringify(options)], {
      cwd: PACKAGE_ROOT,
      execPath: 'ip',
      execArgv: ['netns', 'exec', host.name, process.execPath],
      env: { ...process.env, SMARTVM_RUNTIME_DIR: host.scratch.file('run') },
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
