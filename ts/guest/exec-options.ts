import { assertOptions } from '../config/validation/assert-options.js';
import { type Check, flag, integer, object, oneOf, type Report } from '../config/validation/checks.js';
import type { ExecOptions } from './exec-types.js';
import type { ProcessLimits, SpawnOptions } from './types.js';

/** Of each stream, unless told otherwise. */
export const DEFAULT_MAX_OUTPUT_BYTES = 100_000_000;

function number(min: number): Check {
  return (value, path, report: Report) => {
    if (typeof value !== 'number' || !(value >= min) || !Number.isFinite(value)) {
      report(path, `must be a number of at least ${min}`);
    }
  };
}

const limits = object<ProcessLimits>({ memoryMib: integer(1, 2 ** 32), cpus: number(0.01), processes: integer(1) });

const exec = object<Pick<ExecOptions, 'timeoutMs' | 'maxOutputBytes' | 'encoding' | 'reject' | 'limits'>>({
  timeoutMs: number(0),
  maxOutputBytes: integer(0),
  encoding: oneOf(
    'buffer',
    ...(['utf8', 'utf-8', 'utf16le', 'utf-16le', 'ucs2', 'ucs-2'] as const),
    ...(['latin1', 'binary', 'ascii', 'hex', 'base64', 'base64url'] as const),
  ),
  reject: flag,
  limits,
});

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertExecOptions({ timeoutMs, maxOutputBytes, encoding, reject, limits }: ExecOptions): void {
  assertOptions(exec, { timeoutMs, maxOutputBytes, encoding, reject, limits }, 'options');
}

/** The limits as the agent has them. @throws SmartVMError INVALID_OPTION */
export function limitsRequest({ limits: given }: SpawnOptions): object | undefined {
  if (given === undefined) {
    return undefined;
  }
  assertOptions(limits, given, 'limits');
  const { memoryMib, cpus, processes } = given;
  return { memoryBytes: memoryMib === undefined ? undefined : memoryMib * 1024 ** 2, cpus, processes };
}
