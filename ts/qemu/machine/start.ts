import { Fault } from '../fault.js';
import type { VmResources } from '../resources/resources.js';
import { chooseAccelerator } from './accelerator.js';
import { checkInitrd } from './kernel.js';
import { Machine } from './machine.js';

/**
 * Boots the VM that was configured.
 * @param kernelCheck settles once the kernel is known to fit the machine
 * @throws Fault; the configuration is as before, and may be mended and started again
 */
export async function startMachine(resources: VmResources, kernelCheck: Promise<void> | undefined): Promise<Machine> {
  const { bootSource, machineConfig, drives, interfaces, vsock } = resources;
  if (!bootSource) {
    throw new Fault('Start microvm error: Cannot start microvm without kernel configuration.');
  }
  const { initrd_path: initrd } = bootSource.config;
  if (initrd !== null) {
    await checkInitrd(initrd, machineConfig.mem_size_mib);
  }
  await kernelCheck;
  return await Machine.start(
    {
      arch: process.arch,
      accelerator: chooseAccelerator(),
      machineConfig,
      bootSource,
      drives: drives.all,
      interfaces: interfaces.all,
      hasVsock: vsock !== undefined,
    },
    vsock,
  );
}
