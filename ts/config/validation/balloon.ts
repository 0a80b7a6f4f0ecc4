import type { IBalloonConfig } from '../types.js';
import { flag, integer, isRecord, object, type Report, type UnknownRecord } from './checks.js';

export const balloon = object<IBalloonConfig>(
  {
    amountMib: integer(0, 2 ** 32 - 1),
    deflateOnOom: flag,
    statsPollingIntervalS: integer(0, 65_535),
    freePageHinting: flag,
    freePageReporting: flag,
  },
  ['amountMib'],
);

/** A balloon cannot grow beyond the guest's memory. */
export function reportBalloonOverMemory(config: UnknownRecord, report: Report): void {
  const amount = isRecord(config.balloon) ? config.balloon.amountMib : undefined;
  const memory = isRecord(config.machineConfig) ? config.machineConfig.memSizeMib : undefined;
  if (typeof amount === 'number' && typeof memory === 'number' && amount > memory) {
    report('balloon.amountMib', `must be at most machineConfig.memSizeMib, which is ${memory}`);
  }
}
