import { Fault } from '../fault.js';
import { checkCpuTemplate } from '../resources/cpu-template.js';
import { checkPmemFile } from '../resources/pmem.js';
import type { VmResources } from '../resources/resources.js';
import { openSerialOutput } from '../resources/serial.js';
import { chooseAccelerator } from './accelerator.js';
import type { MachineSpec } from './command-line.js';
import { checkInitrd, checkKernelFits } from './kernel.js';
import { Machine } from './machine.js';

/**
 * Boots the VM that was configured.
 * @param kernelCheck settles once the kernel is known to fit the machine
 * @throws Fault; the configuration is as before, and may be mended and started again
 */
export async function startMachine(resources: VmResources, kernelCheck: Promise<void> | undefined): Promise<Machine> {
  const { bootSource, machineConfig } = resources;
  if (!bootSource) {
    throw new Fault('Start microvm error: Cannot start microvm without kernel configuration.');
  }
  checkCpuTemplate(machineConfig);
  return await withSerialOutput(
    resources,
    'Start microvm error: Failed to create device manager:',
    async (serialFd) => {
      await kernelCheck;
      await checkKernelFits(bootSource.config.kernel_image_path, machineConfig.mem_size_mib);
      const { initrd_path: initrd } = bootSource.config;
      if (initrd !== null) {
        await checkInitrd(initrd, machineConfig.mem_size_mib);
      }
      return await Machine.start(await machineSpec(resources), { vsock: resources.vsock, serialFd });
    },
  );
}

/** Opens the file for the serial port, if there is one, for as long as a machine takes to inherit it. @throws Fault */
export async function withSerialOutput<T>(
  { serial }: VmResources,
  refusal: string,
  use: (serialFd: number | undefined) => Promise<T>,
): Promise<T> {
  if (serial.serial_out_path === null) {
    return await use(undefined);
  }
  const file = await openSerialOutput(serial.serial_out_path, refusal);
  try {
    return await use(file.fd);
  } finally {
    await file.close();
  }
}

/** @throws Fault when the file of a persistent memory device is not there */
export async function machineSpec(resources: VmResources): Promise<MachineSpec> {
  const { bootSource, machineConfig, drives, interfaces, pmem, balloon, entropy, memoryHotplug, vsock } = resources;
  return {
    arch: process.arch,
    accelerator: chooseAccelerator(),
    machineConfig,
    bootSource,
    drives: drives.all,
    interfaces: interfaces.all,
    pmem: await Promise.all(pmem.all.map(async (config) => ({ config, sizeBytes: await checkPmemFile(config) }))),
    balloon,
    entropy,
    memoryHotplug,
    hasVsock: vsock !== undefined,
  };
}
