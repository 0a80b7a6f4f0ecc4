import type { Handlers } from '../api/actions.js';
import type { DriveUpdate } from '../api/bodies.js';
import type { SnapshotCreate } from '../api/snapshot-bodies.js';
import { Fault } from '../fault.js';
import type { Machine } from '../machine/machine.js';
import { notInitialized } from '../mmds/store.js';
import { checkBackingFile } from '../resources/drives.js';
import { updated } from '../resources/rate-limiter.js';
import type { GuestMemory } from '../snapshot/memory.js';
import { VMM_SOURCE } from '../telemetry/logger.js';
import { balloonHandlers } from './balloon.js';
import { done, queryHandlers } from './common.js';
import type { Vmm } from './vmm.js';

const NOT_FOUND = 'Failed perform action on device: Device not found';

const refuse = (message: string) => () => {
  throw new Fault(message);
};

/** What is legal once the VM has started. */
export function runtimeHandlers(vmm: Vmm, machine: Machine, memory: GuestMemory): Handlers {
  const queries = queryHandlers(vmm);
  return {
    ...queries,
    ...balloonHandlers(vmm, machine),
    ...hotplugHandlers(vmm, machine),
    ...mmdsHandlers(vmm, queries.GetMmds),
    CreateSnapshot: done((params) => createSnapshot(vmm, machine, memory, params)),
    FlushMetrics: done(() => vmm.metrics.flush()),
    Pause: done(async () => {
      const start = performance.now();
      await machine.pause();
      vmm.state = 'Paused';
      logTook(vmm, 'pause vm', vmm.metrics.took('vmm_pause_vm', start));
    }),
    Resume: done(async () => {
      const start = performance.now();
      await machine.resume();
      vmm.state = 'Running';
      logTook(vmm, 'resume vm', vmm.metrics.took('vmm_resume_vm', start));
    }),
    SendCtrlAltDel: done(() => machine.sendCtrlAltDel()),
    UpdateBlockDevice: done((update) => updateDrive(vmm, machine, update)),
    UpdateNetworkInterface: done((update) => {
      if (!vmm.resources.interfaces.updateLimits(update)) {
        throw new Fault(`Network config error: Unable to update the net device: ${NOT_FOUND}`);
      }
    }),
    UpdatePmemDevice: done(({ id, rate_limiter }) => rate_limiter && vmm.resources.pmem.updateLimit(id, rate_limiter)),
  };
}

/** Devices come and go on Firecracker's PCI, which is off; memory does so on its own. */
function hotplugHandlers({ resources }: Vmm, machine: Machine): Handlers {
  return {
    InsertBlockDevice: refuse('PCI is not enabled'),
    InsertNetworkDevice: refuse('PCI is not enabled'),
    InsertPmemDevice: refuse('PCI is not enabled'),
    HotUnplugDevice: refuse('PCI is not enabled'),
    GetMemoryHotplugStatus: () => {
      if (!resources.memoryHotplug) {
        throw new Fault(`Internal VMM error: ${NOT_FOUND}`);
      }
      return machine.hotplugMemory.status(resources.memoryHotplug);
    },
    UpdateMemoryHotplugSize: done(({ requested_size_mib }) => {
      if (!resources.memoryHotplug) {
        throw new Fault(`Memory hotplug update error: ${NOT_FOUND}`);
      }
      return machine.hotplugMemory.request(resources.memoryHotplug, requested_size_mib);
    }),
  };
}

/** A running VM has an MMDS when it answers on one of its interfaces. */
function mmdsHandlers({ resources }: Vmm, get: () => object): Handlers {
  const check = () => {
    if (!resources.interfaces.all.some(({ hasMmds }) => hasMmds)) {
      throw notInitialized();
    }
  };
  return {
    GetMmds: () => {
      check();
      return get();
    },
    PutMmds: done((value) => {
      check();
      resources.mmds.put(value);
    }),
    PatchMmds: done((patch) => {
      check();
      resources.mmds.patch(patch);
    }),
  };
}

function logTook({ logger }: Vmm, what: string, us: number): void {
  logger.write('INFO', VMM_SOURCE, `'${what}' VMM action took ${us} us.`);
}

async function createSnapshot(vmm: Vmm, machine: Machine, memory: GuestMemory, params: SnapshotCreate): Promise<void> {
  if (vmm.state !== 'Paused') {
    throw new Fault(
      'Create snapshot error: Cannot save the microVM state: Operation not allowed: save/restore unavailable while running',
    );
  }
  const start = performance.now();
  const { createSnapshot } = await import('../snapshot/create.js');
  await createSnapshot(vmm.resources, machine, memory, params);
  const isFull = params.snapshot_type === 'Full';
  const us = vmm.metrics.took(isFull ? 'vmm_full_create_snapshot' : 'vmm_diff_create_snapshot', start);
  logTook(vmm, isFull ? 'create full snapshot' : 'create diff snapshot', us);
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
    await machine.drives.replaceFile(index, drive, file);
    resources.drives.update(update.drive_id, { file });
  }
  if (update.rate_limiter !== null) {
    const rateLimiter = updated(drive.rateLimiter, update.rate_limiter);
    await machine.drives.limit(index, rateLimiter);
    resources.drives.update(update.drive_id, { rateLimiter });
  }
}
