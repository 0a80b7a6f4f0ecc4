import type { SmartVMError } from '../errors.js';
import { hasPanicked, type VmmExit } from '../vmm/exit.js';

/** Why a VM ended: every reason, with what it means. */
export const EXIT_REASONS = {
  stopped: '`stop()` was called, by this program or by another.',
  timeout: 'Its `timeoutMs` was over, and its keeper stopped it.',
  'idle-timeout': 'Nobody had used the guest for `idleTimeoutMs`, and its keeper stopped it.',
  'guest-shutdown':
    'The guest reset or powered itself off. Where the VMM outlives that, its agent hung up and did not come back within `guestGoneAfterMs`.',
  'guest-panic': "The guest's kernel panicked: the console's tail has its last words.",
  'vmm-killed': 'Somebody killed the VMM, or its keeper.',
  'vmm-failed': 'The VMM failed.',
} as const;

export type ExitReason = keyof typeof EXIT_REASONS;

export interface VmExit {
  readonly reason: ExitReason;
  /** Whether the VM ended as a VM may: by `stop()`, at the end of its time, or by its guest's own will. */
  readonly orderly: boolean;
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** VMM_EXITED, with the tail of the console and of the VMM's own output; undefined for an orderly end. */
  readonly error: SmartVMError | undefined;
}

const UNEXPECTED: readonly ExitReason[] = ['guest-panic', 'vmm-killed', 'vmm-failed'];

/** Names the reason of an exit: who ended the VMM on purpose, else how it ended and what the console last said. */
export function classifyExit(
  exit: VmmExit,
  error: SmartVMError | undefined,
  cause: { stopping: boolean; guestShutDown: boolean },
): VmExit {
  const reason = cause.stopping ? 'stopped' : cause.guestShutDown ? 'guest-shutdown' : reasonOf(exit, error);
  const orderly = !UNEXPECTED.includes(reason);
  return { reason, orderly, exitCode: exit.exitCode, signal: exit.signal, error: orderly ? undefined : error };
}

function reasonOf(exit: VmmExit, error: SmartVMError | undefined): ExitReason {
  if (exit.reason === 'stopped' || exit.reason === 'timeout' || exit.reason === 'idle-timeout') {
    return exit.reason;
  }
  if (exit.reason !== 'exited' || exit.signal !== null) {
    return 'vmm-killed';
  }
  if (exit.exitCode !== 0) {
    return 'vmm-failed';
  }
  const console = (error?.details.consoleTail ?? []) as readonly string[];
  return hasPanicked(console) ? 'guest-panic' : 'guest-shutdown';
}
