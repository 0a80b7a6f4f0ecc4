import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { expect } from 'vitest';
import { programPath } from '../../ts/config/programs.js';
import type { IMicroVMConfig } from '../../ts/config/types.js';
import type { PrepareFiles } from '../../ts/vm/boot-context.js';
import type { VmExit } from '../../ts/vm/exit.js';
import { MicroVM } from '../../ts/vm/micro-vm.js';
import { processesNaming, until } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';
import { compileToyGuest } from './toy-guest.js';

/** VMs with the toy guest on one VMM, all that they make in one directory. Disposing of it fails when anything is left. */
export interface ToyBench extends AsyncDisposable {
  readonly scratch: ScratchDirectory;
  vm(config?: Partial<IMicroVMConfig>, prepare?: PrepareFiles): MicroVM;
  /** All of a VM's console so far, without carriage returns. */
  consoleOf(vm: MicroVM): string;
  says(vm: MicroVM, text: string): Promise<void>;
  exitOf(vm: MicroVM): Promise<VmExit>;
  /** Process id of the VMM, once there is one. */
  vmmPid(): Promise<number>;
  /** Pids and command lines of the processes of these VMs. */
  processes(): Promise<string[]>;
  /** What is in the directory beside the kernel, and the processes. */
  leftovers(): Promise<string[]>;
}

export async function openToyBench(executable: string): Promise<ToyBench> {
  const scratch = await scratchDirectory();
  const kernelImagePath = scratch.file('kernel');
  await compileToyGuest(kernelImagePath);
  const consoles = new Map<MicroVM, string>();
  const processes = () => processesNaming(scratch.path);
  const consoleOf = (vm: MicroVM) => (consoles.get(vm) ?? '').replaceAll('\r', '');
  return {
    scratch,
    vm(config = {}, prepare) {
      const id = `vm-${consoles.size + 1}`;
      const whole: IMicroVMConfig = {
        bootSource: { kernelImagePath, bootArgs: 'console=ttyS0 reboot=k' },
        machineConfig: { vcpuCount: 1, memSizeMib: 64 },
        vsock: { guestCid: 3, udsPath: scratch.file(`${id}.vsock`) },
        ...config,
      };
      const options = { runtimeDir: scratch.file(id), prepare };
      const vm = new MicroVM(id, whole, executable, scratch.file(`${id}.sock`), {}, options);
      consoles.set(vm, '');
      vm.on('console', (chunk) => consoles.set(vm, (consoles.get(vm) ?? '') + chunk.toString()));
      return vm;
    },
    consoleOf,
    says: (vm, text) => until(() => consoleOf(vm).includes(text), 30_000, `'${text}' on the console`),
    async exitOf(vm) {
      const [exit] = (await once(vm, 'exit')) as [VmExit];
      return exit;
    },
    async vmmPid() {
      const pids = async () =>
        (await processes())
          .filter((line) => line.includes('--api-sock') && !line.includes(programPath('keeper')))
          .map((line) => Number.parseInt(line, 10));
      await until(async () => (await pids()).length > 0, 30_000, 'the VMM');
      return (await pids())[0] as number;
    },
    processes,
    leftovers: async () => [
      ...(await readdir(scratch.path)).filter((name) => name !== 'kernel'),
      ...(await processes()),
    ],
    async [Symbol.asyncDispose]() {
      await Promise.all([...consoles.keys()].map((vm) => vm.cleanup()));
      await until(async () => (await processes()).length === 0, 30_000, 'the end of all processes').finally(() =>
        scratch[Symbol.asyncDispose](),
      );
      expect(
        [...consoles.keys()].map((vm) => vm.state).filter((state) => !['stopped', 'failed'].includes(state)),
      ).toEqual([]);
    },
  };
}
