import { isValidVmId, VM_ID_RULE } from '../ids.js';
import type { IMicroVMConfig } from '../types.js';
import { balloon, reportBalloonOverMemory } from './balloon.js';
import { bootSource } from './boot-source.js';
import { type Check, isRecord, object, rule } from './checks.js';
import { drives } from './drives.js';
import { machineConfig } from './machine-config.js';
import { mmds, reportMissingMmdsInterfaces } from './mmds.js';
import { networkInterfaces } from './network-interfaces.js';
import { logger, metrics } from './telemetry.js';
import { vsock } from './vsock.js';

const fields = object<IMicroVMConfig>(
  {
    id: rule(isValidVmId, VM_ID_RULE),
    bootSource,
    machineConfig,
    drives,
    networkInterfaces,
    vsock,
    balloon,
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
  }
};

/** Every problem that `check` finds in a value, the path of the field first. */
export function errorsOf(check: Check, value: unknown, path = ''): string[] {
  const errors: string[] = [];
  check(value, path, (where, problem) => errors.push(`${where} ${problem}`));
  return errors;
}
