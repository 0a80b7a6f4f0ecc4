import { MAX_SOCKET_PATH_BYTES } from '../../util/socket-path.js';
import { isValidResourceId, RESOURCE_ID_RULE } from '../ids.js';
import type { IDriveConfig } from '../types.js';
import {
  type Check,
  flag,
  hostPath,
  isRecord,
  list,
  object,
  oneOf,
  recordsOf,
  reportDuplicates,
  rule,
  text,
} from './checks.js';
import { rateLimiter } from './rate-limiter.js';

const NOT_WITH_SOCKET = [
  'pathOnHost',
  'isReadOnly',
  'rateLimiter',
  'ioEngine',
] as const satisfies (keyof IDriveConfig)[];

const fields = object<IDriveConfig>(
  {
    driveId: rule(isValidResourceId, RESOURCE_ID_RULE),
    pathOnHost: hostPath,
    socket: text({ maxBytes: MAX_SOCKET_PATH_BYTES }),
    isRootDevice: flag,
    isReadOnly: flag,
    partuuid: text({ maxBytes: 64 }),
    cacheType: oneOf('Unsafe', 'Writeback'),
    ioEngine: oneOf('Sync', 'Async'),
    rateLimiter,
  },
  ['driveId'],
);

export const drive: Check = (value, path, report) => {
  fields(value, path, report);
  if (!isRecord(value)) {
    return;
  }
  if (value.socket === undefined) {
    if (value.pathOnHost === undefined) {
      report(`${path}.pathOnHost`, 'is required where there is no socket');
    }
    return;
  }
  for (const name of NOT_WITH_SOCKET) {
    if (value[name] !== undefined) {
      report(`${path}.${name}`, 'must be absent where there is a socket: it is for the vhost-user backend to decide');
    }
  }
};

const eachDrive = list(drive);

export const drives: Check = (value, path, report) => {
  eachDrive(value, path, report);
  reportDuplicates(value, path, 'driveId', report);
  const roots = recordsOf(value).filter(([, record]) => record.isRootDevice === true);
  if (roots.length > 1) {
    const places = roots.map(([index]) => `${path}[${index}]`).join(', ');
    report(path, `must have at most one root device, has ${roots.length}: ${places}`);
  }
};
