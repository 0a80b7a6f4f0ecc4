import type { Handlers } from '../api/actions.js';
import { Fault } from '../fault.js';
import { presentMachineConfig } from '../resources/machine-config.js';
import { API_VERSION, type Vmm } from './vmm.js';

/** What is legal before the VM has started. */
export function prebootHandlers(vmm: Vmm): Handlers {
  const { resources } = vmm;
  let kernelCheck: Promise<void> | undefined;
  return {
    GetVmInstanceInfo: () => vmm.presentInstance(),
    GetVmmVersion: () => ({ firecracker_version: API_VERSION }),
    GetVmMachineConfig: () => presentMachineConfig(resources.machineConfig),
    GetFullVmConfig: () => resources.present(),
    GetMmds: () => ({}),
    GetBalloonConfig: () => {
      throw new Fault('Balloon config error: No balloon device found.');
    },
    ConfigureBootSource: async (config) => {
      await resources.setBootSource(config);
      // Reading a kernel takes a while, and so does loading code; both are done by the time the VM is to start.
      void Promise.all([import('../machine/start.js'), import('./runtime.js')]);
      kernelCheck = import('../machine/kernel.js').then(({ checkKernel }) => checkKernel(config.kernel_image_path));
      kernelCheck.catch(() => undefined);
      return undefined;
    },
    UpdateMachineConfiguration: (update) => {
      resources.updateMachineConfig(update);
      return undefined;
    },
    InsertBlockDevice: async (config) => {
      await resources.drives.insert(config);
      return undefined;
    },
    InsertNetworkDevice: async (config) => {
      await resources.interfaces.insert(config);
      return undefined;
    },
    SetVsockDevice: async (config) => {
      await resources.setVsock(config);
      return undefined;
    },
    StartMicroVm: async () => {
      const { startMachine } = await import('../machine/start.js');
      await vmm.onStarted(await startMachine(resources, kernelCheck));
      return undefined;
    },
  };
}
