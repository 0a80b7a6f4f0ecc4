import { type Handlers, JsonText } from '../api/actions.js';
import { presentMachineConfig } from '../resources/machine-config.js';
import { API_VERSION, type Vmm } from './vmm.js';

/** A handler whose answer is that it was done. */
export const done =
  <P>(act: (parameters: P) => unknown) =>
  async (parameters: P): Promise<undefined> => {
    await act(parameters);
    return undefined;
  };

/** What can be asked at any time and has one answer. */
export function queryHandlers(vmm: Vmm) {
  const { resources } = vmm;
  return {
    GetVmInstanceInfo: () => vmm.presentInstance(),
    GetVmmVersion: () => ({ firecracker_version: API_VERSION }),
    GetVmMachineConfig: () => presentMachineConfig(resources.machineConfig),
    GetFullVmConfig: () => resources.present(),
    GetMmds: () => new JsonText(resources.mmds.text()),
  } satisfies Handlers;
}
