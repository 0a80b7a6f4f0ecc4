import type { IMachineConfig } from '../types.js';
import { type Check, flag, integer, isRecord, object, oneOf } from './checks.js';

const fields = object<IMachineConfig>(
  {
    vcpuCount: integer(1, 32),
    memSizeMib: integer(1),
    smt: flag,
    cpuTemplate: oneOf('C3', 'T2', 'T2S', 'T2CL', 'T2A', 'V1N1', 'None'),
    trackDirtyPages: flag,
    hugePages: oneOf('None', 'Transparent', '2M'),
  },
  ['vcpuCount', 'memSizeMib'],
);

export const machineConfig: Check = (value, path, report) => {
  fields(value, path, report);
  if (!isRecord(value)) {
    return;
  }
  const { vcpuCount, memSizeMib, smt, hugePages } = value;
  if (smt === true && isOdd(vcpuCount) && vcpuCount !== 1) {
    report(`${path}.vcpuCount`, 'must be 1 or an even number when smt is true');
  }
  if ((hugePages === '2M' || hugePages === 'Transparent') && isOdd(memSizeMib)) {
    report(`${path}.memSizeMib`, `must be a multiple of 2 when hugePages is ${hugePages}`);
  }
};

function isOdd(value: unknown): boolean {
  return typeof value === 'number' && Math.abs(value % 2) === 1;
}
