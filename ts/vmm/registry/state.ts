import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRecord } from '../../config/validation/checks.js';

/** What a VM's keeper last heard or saw of it, in `state.json`. */
export interface VmStatus {
  readonly state: 'running' | 'paused';
  /** ISO 8601, as all its times: for people. What is due is decided by a clock that nobody sets. */
  readonly changedAt: string;
  /** When its start was through. */
  readonly startedAt: string;
  /** When its keeper stops or pauses it; absent where nobody has limited its life. */
  readonly expiresAt?: string;
  /** What is done then, and when it has been idle for too long. Absent: `stop`. */
  readonly onExpiry?: 'stop' | 'pause';
  /** Milliseconds for which nobody may use the guest. */
  readonly idleTimeoutMs?: number;
}

const MAX_CHARACTERS = 4096;

/**
 * The state of a VM whose keeper lives, without asking it. Undefined while the VM is being started, and where there is nothing to
 * read. That it lives, this does not say.
 */
export function readVmStatus(runtimeDir: string): VmStatus | undefined {
  try {
    const text = readFileSync(join(runtimeDir, 'state.json'), 'utf8');
    return text.length <= MAX_CHARACTERS ? statusOf(JSON.parse(text)) : undefined;
  } catch {
    return undefined;
  }
}

/** What a keeper said, if it is a state at all. */
export function statusOf(value: unknown): VmStatus | undefined {
  const isStatus =
    isRecord(value) &&
    (value.state === 'running' || value.state === 'paused') &&
    typeof value.changedAt === 'string' &&
    typeof value.startedAt === 'string';
  return isStatus ? (value as unknown as VmStatus) : undefined;
}
