import type { Handlers } from '../api/actions.js';
import type { DriveUpdate } from '../api/bodies.js';
import { Fault } from '../fault.js';
import type { Machine } from '../machine/machine.js';
import { checkBackingFile } from '../resources/drives.js';
import { presentMachineConfig } from '../resources/machine-config.js';
import { updated } from '../resources/rate-limiter.js';
import { API_VERSION, type Vmm } from './vmm.js';

const NOT_FOUND = 'Failed perform action on device: Device not found';

const refuse = (message: string) => () => {
  throw new Fault(message);
};

/** What is legal once the VM has started. */
export function runtimeHandlers(vmm: Vmm, machine: Machine): Handlers {
  const { resources } = vmm;
  return {
    GetVmInstanceInfo: () => vmm.presentInstance(),
    GetVmmVersion: () => ({ firecracker_version: API_VERSION }),
    GetVmMachineConfig: () => presentMachineConfig(resources.machineConfig),
    GetFullVmConfig: () => resources.present(),
    GetMmds: refuse('MMDS error: The MMDS data store is not initialized.'),
    GetBalloonConfig: refuse(`Internal VMM error: ${NOT_FOUND}`),
    GetBalloonStats: refuse(`Internal VMM error: ${NOT_FOUND}`),
    GetFreePageHintingStatus: refuse(`Balloon update error: ${NOT_FOUND}`),
    GetMemoryHotplugStatus: refuse(`Internal VMM error: ${NOT_FOUND}`),
    InsertBlockDevice: refuse('PCI is not enabled'),
    InsertNetworkDevice: refuse('PCI is not enabled'),
    HotUnplugDevice: refuse('PCI is not enabled'),
    FlushMetrics: () => undefined,
    Pause: async () => {
      await machine.pause();
      vmm.state = 'Paused';
      return undefined;
    },
    Resume: async () => {
      await machine.resume();
      vmm.state = 'Running';
      return undefined;
    },
    SendCtrlAltDel: async () => {
      await machine.sendCtrlAltDel();
      return undefined;
    },
    UpdateBlockDevice: async (update) => {
      await updateDrive(vmm, machine, update);
      return undefined;
    },
    UpdateNetworkInterface: (update) => {
      if (!resources.interfaces.updateLimits(update)) {
        throw new Fault(`Network config error: Unable to update the net device: ${NOT_FOUND}`);
      }
      return undefined;
    },
  };
}

async function updateDrive({ resources }: Vmm, machine: Machine, update: DriveUpdate): Promise<void> {
  const refusal = 'Drive config error: Unable to patch the block device:';
  const advice = 'Please verify the request arguments.';
  const index = resources.drives.indexOf(update.drive_id);
  const drive = resources.drives.all[index];
  if (!drive) {
    throw new Fault(`${refusal} ${NOT_FOUND} ${advice}`);
  }
  if (update.path_on_host === null && update.rate_limiter === null) {
    // For Firecracker that is a request to a vhost-user device to read its configuration again.
    throw new Fault(`${refusal} Block: Running method expected different backend. ${advice}`);
  }
  if (update.path_on_host !== null) {
    const file = await checkBackingFile(update.path_on_host, drive.isReadOnly, `${refusal} Block:`).catch(
      (error: Error) => {
        throw new Fault(`${error.message} ${advice}`);
      },
    );
    await machine.replaceDriveFile(index, drive, file);
    resources.drives.update(update.drive_id, { file });
  }
  if (update.rate_limiter !== null) {
    const rateLimiter = updated(drive.rateLimiter, update.rate_limiter);
    await machine.limitDrive(index, rateLimiter);
    resources.drives.update(update.drive_id, { rateLimiter });
  }
}
