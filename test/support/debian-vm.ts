import { mkdir, readdir } from 'node:fs/promises';
import { SmartVM } from '../../ts/smartvm.js';
import { processesNaming } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';

/** A SmartVM with a runtime directory of its own, and the images of this machine. */
export interface Bench extends AsyncDisposable {
  readonly smartvm: SmartVM;
  readonly runtimeDir: string;
  /** What is left in the runtime directory, and the processes that name it. */
  leftovers(): Promise<string[]>;
}

export async function openBench(): Promise<Bench> {
  const scratch: ScratchDirectory = await scratchDirectory();
  const runtimeDir = scratch.file('run');
  await mkdir(runtimeDir, { mode: 0o700 });
  const smartvm = new SmartVM({ runtimeDir, vmm: 'qemu' });
  return {
    smartvm,
    runtimeDir,
    leftovers: async () => [...(await readdir(runtimeDir)), ...(await processesNaming(runtimeDir))],
    async [Symbol.asyncDispose]() {
      await smartvm.cleanup();
      await scratch[Symbol.asyncDispose]();
    },
  };
}
