import { type Check, errorsOf, integer, list, object } from '../config/validation/checks.js';
import { SmartVMError } from '../errors.js';

/** How a guest fares, by its own account. Times are in milliseconds since its boot, sizes in bytes. */
export interface GuestMetrics {
  readonly uptimeMs: number;
  /** Of all CPUs together. */
  readonly cpu: {
    readonly count: number;
    readonly userMs: number;
    readonly systemMs: number;
    readonly idleMs: number;
    /** What the host has given to others. */
    readonly stealMs: number;
    /** Load averages of the last 1, 5 and 15 minutes. */
    readonly load: readonly number[];
  };
  readonly memory: {
    readonly totalBytes: number;
    readonly freeBytes: number;
    /** What programs can still have: free memory, and caches that can be given up. */
    readonly availableBytes: number;
  };
  /** The root file system. */
  readonly disk: {
    readonly totalBytes: number;
    readonly freeBytes: number;
    /** What others than root can still write. */
    readonly availableBytes: number;
  };
  /** Without the kernel's own threads. */
  readonly processes: { readonly total: number; readonly running: number };
}

const count = integer(0);
const load: Check = (value, path, report) => {
  if (!(typeof value === 'number' && value >= 0)) {
    report(path, 'must be a number of at least 0');
  }
};
const sizes = { totalBytes: count, freeBytes: count, availableBytes: count };
const metrics = object<GuestMetrics>(
  {
    uptimeMs: count,
    cpu: object<GuestMetrics['cpu']>(
      { count, userMs: count, systemMs: count, idleMs: count, stealMs: count, load: list(load, 3) },
      ['count', 'userMs', 'systemMs', 'idleMs', 'stealMs', 'load'],
    ),
    memory: object<GuestMetrics['memory']>(sizes, ['totalBytes', 'freeBytes', 'availableBytes']),
    disk: object<GuestMetrics['disk']>(sizes, ['totalBytes', 'freeBytes', 'availableBytes']),
    processes: object<GuestMetrics['processes']>({ total: count, running: count }, ['total', 'running']),
  },
  ['uptimeMs', 'cpu', 'memory', 'disk', 'processes'],
);

/** The metrics that an agent tells of. @throws SmartVMError AGENT_FAILED for what is no such answer */
export function metricsOf(value: unknown): GuestMetrics {
  const errors = errorsOf(metrics, value, 'metrics');
  if (errors.length > 0) {
    throw new SmartVMError('AGENT_FAILED', `metrics failed in the guest: ${errors.slice(0, 4).join('; ')}`);
  }
  return value as GuestMetrics;
}
