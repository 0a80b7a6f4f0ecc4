import { isValidVmId, VM_ID_RULE } from '../ids.js';
import type { IMicroVMConfig, IMmdsConfig, IRestoredMicroVMConfig } from '../types.js';
import { balloon, reportBalloonOverMemory } from './balloon.js';
import { bootSource } from './boot-source.js';
import { type Check, isRecord, object, rule } from './checks.js';
import { cpuConfig } from './cpu-config.js';
import { entropy, memoryHotplug, pmem, reportSecondRootDevice, serial } from './devices.js';
import { drives } from './drives.js';
import { machineConfig } from './machine-config.js';
import { contents, mmds, reportMissingMmdsInterfaces } from './mmds.js';
import { networkInterfaces } from './network-interfaces.js';
import { logger, metrics } from './telemetry.js';
import { reportSharedSocket, vsock } from './vsock.js';

const fields = object<IMicroVMConfig>(
  {
    id: rule(isValidVmId, VM_ID_RULE),
    bootSource,
    machineConfig,
    cpuConfig,
    drives,
    pmem,
    networkInterfaces,
    vsock,
    balloon,
    entropy,
    serial,
    memoryHotplug,
    mmds,
    logger,
    metrics,
  },
  ['bootSource'],
);

/** A whole configuration, with the rules that hold between its parts. */
export const vmConfig: Check = (value, path, report) => {
  fields(value, path, report);
  if (isRecord(value)) {
    reportBalloonOverMemory(value, report);
    reportMissingMmdsInterfaces(value, report);
    reportSecondRootDevice(value, report);
    reportSharedSocket(value, report);
  }
};

/** What can be said of a VM whose hardware is in a snapshot. */
export const restoredVmConfig: Check = object<IRestoredMicroVMConfig>({
  id: rule(isValidVmId, VM_ID_RULE),
  serial,
  mmds: object<Pick<IMmdsConfig, 'contents'>>({ contents }, ['contents']),
  logger,
  metrics,
});
