import { SmartVMError } from '../errors.js';
import { assertOptions } from './validation/assert-options.js';
import { flag, integer, object, oneOf } from './validation/checks.js';

/** How long a VM may live, which its keeper sees to, whatever becomes of the program that said it. */
export interface LifetimeOptions {
  /** Milliseconds of its life once its start is through, up to a year. Default: no limit. `vm.setTimeout()` changes it. */
  timeoutMs?: number | undefined;
  /**
   * Milliseconds, up to a year, for which no program may have a command in the guest. Default: no limit. Programs that reach the guest
   * without SmartVM, such as a server's clients, do not count.
   */
  idleTimeoutMs?: number | undefined;
  /** What is done with the VM at the end of either. Default `stop`. */
  onTimeout?: 'stop' | 'pause' | undefined;
}

const MAX_MS = 366 * 24 * 3600 * 1000;

const milliseconds = integer(1, MAX_MS);
const lifetime = object<LifetimeOptions>({
  timeoutMs: milliseconds,
  idleTimeoutMs: milliseconds,
  onTimeout: oneOf('stop', 'pause'),
});

/** Those of some options that are about a VM's lifetime. */
export function lifetimeOf({ timeoutMs, idleTimeoutMs, onTimeout }: LifetimeOptions): LifetimeOptions {
  return { timeoutMs, idleTimeoutMs, onTimeout };
}

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertLifetime(options: LifetimeOptions): void {
  assertOptions(lifetime, lifetimeOf(options), 'lifetime');
}

/** @throws SmartVMError INVALID_OPTION for what would change nothing for a VM that its program takes along */
export function assertRemoval(removeOnExit: unknown, detached: unknown): void {
  assertOptions(flag, removeOnExit ?? false, 'removeOnExit');
  if (removeOnExit && !detached) {
    throw new SmartVMError(
      'INVALID_OPTION',
      'removeOnExit is for a detached VM: any other is removed with its program',
    );
  }
}
