import type { ILoggerConfig, IMetricsConfig } from '../types.js';
import { type Check, flag, hostPath, isRecord, object, oneOf, text } from './checks.js';

export const logger = object<ILoggerConfig>({
  logPath: hostPath,
  level: oneOf('Error', 'Warning', 'Info', 'Debug', 'Trace', 'Off'),
  showLevel: flag,
  showLogOrigin: flag,
  module: text({ maxBytes: 1024 }),
});

const properties: Check = (value, path, report) => {
  if (!isRecord(value) || Object.values(value).some((property) => typeof property !== 'string')) {
    report(path, 'must be an object whose values are strings');
  }
};

export const metrics = object<IMetricsConfig>({ metricsPath: hostPath, emitId: flag, properties });
