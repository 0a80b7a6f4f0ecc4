import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { JailOptions } from '../../ts/config/jail.js';
import type { IMicroVMConfig, IRestoredMicroVMConfig } from '../../ts/config/types.js';
import { type CreateVMOptions, SmartVM } from '../../ts/smartvm.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { processesNaming, until } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';
import { compileToyGuest } from './toy-guest.js';

/** An executable that speaks the Firecracker API. */
export interface VmmAtHand {
  readonly name: string;
  readonly path: string;
  /** As SmartVM's option. */
  readonly jail?: boolean | JailOptions;
}

const firecracker = process.env.SMARTVM_FIRECRACKER;
const isRoot = process.getuid?.() === 0;

/**
 * The VMMs that the suites run on: `smartvm-qemu` always, and the Firecracker that SMARTVM_FIRECRACKER names. They are jailed where
 * that is possible: as root, and a Firecracker with its jailer beside it.
 */
export const VMMS: readonly VmmAtHand[] = [
  { name: 'smartvm-qemu', path: join(PACKAGE_ROOT, 'bin/smartvm-qemu'), jail: isRoot },
  ...(firecracker
    ? [{ name: 'Firecracker', path: firecracker, jail: isRoot && existsSync(join(dirname(firecracker), 'jailer')) }]
    : []),
];

/** VMs of one VMM with the toy guest, in a runtime directory of their own. */
export class ToyBench implements AsyncDisposable {
  readonly smartvm: SmartVM;
  readonly scratch: ScratchDirectory;

  private constructor(vmm: VmmAtHand, scratch: ScratchDirectory) {
    this.scratch = scratch;
    const { path, jail } = vmm;
    this.smartvm = new SmartVM({
      runtimeDir: this.runtimeDir,
      firecrackerBinaryPath: path,
      ...(jail === undefined ? {} : { jail }),
    });
  }

  static async open(vmm: VmmAtHand): Promise<ToyBench> {
    const bench = new ToyBench(vmm, await scratchDirectory());
    await mkdir(bench.runtimeDir, { mode: 0o700 });
    await compileToyGuest(bench.kernelImagePath);
    return bench;
  }

  get runtimeDir(): string {
    return this.scratch.file('run');
  }

  get kernelImagePath(): string {
    return this.scratch.file('toy');
  }

  /** A VM with the toy guest that is not started. */
  async create(part: Partial<IMicroVMConfig> = {}, options: CreateVMOptions = {}): Promise<ToyVm> {
    const machineConfig = { memSizeMib: 32, ...part.machineConfig };
    const bootSource = { kernelImagePath: this.kernelImagePath };
    return new ToyVm(await this.smartvm.createVM({ bootSource, ...part, machineConfig }, options));
  }

  /** A VM whose toy guest has greeted. */
  async boot(part: Partial<IMicroVMConfig> = {}, options: CreateVMOptions = {}): Promise<ToyVm> {
    const toy = await this.create(part, options);
    await toy.vm.start();
    await toy.says('TOY GUEST UP');
    return toy;
  }

  async restore(restore: CreateVMOptions['restore'], config: IRestoredMicroVMConfig = {}): Promise<ToyVm> {
    const toy = new ToyVm(await this.smartvm.createVM(config, { restore }));
    await toy.vm.start();
    return toy;
  }

  /** What is left in the runtime directory, and the processes that name it. */
  async leftovers(): Promise<string[]> {
    return [...(await readdir(this.runtimeDir)), ...(await processesNaming(this.runtimeDir))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.smartvm.cleanup();
    await this.scratch[Symbol.asyncDispose]();
  }
}

/** One bench for all tests of a suite, which are to leave nothing in it. */
export function toyBenchForAll(vmm: VmmAtHand): () => ToyBench {
  let bench: ToyBench;
  beforeAll(async () => {
    bench = await ToyBench.open(vmm);
  });
  afterAll(async () => {
    expect(await bench.leftovers()).toEqual([]);
    await bench[Symbol.asyncDispose]();
  });
  return () => bench;
}

/** A VM with the toy guest, and what its console has said. */
export class ToyVm {
  readonly vm: MicroVM;
  console = '';

  constructor(vm: MicroVM) {
    this.vm = vm;
    vm.on('console', (chunk) => {
      this.console += chunk;
    });
  }

  async says(text: string): Promise<void> {
    await until(() => this.console.includes(text), 30_000, `'${text}' on the console of ${this.vm.id}`);
  }

  /** That the guest runs: it answers. */
  async pong(): Promise<void> {
    const pongs = () => this.console.split('PONG').length;
    const before = pongs();
    await this.vm.writeConsole('p');
    await until(() => pongs() > before, 30_000, `an answer of ${this.vm.id}`);
  }
}

/** What a promise rejects with. */
export async function rejectionOf(
  promise: Promise<unknown>,
): Promise<Error & { code?: string; faultMessage?: string }> {
  return await promise.then(
    (value) => Promise.reject(new Error(`resolved with ${JSON.stringify(value)}`)),
    (error) => error,
  );
}
