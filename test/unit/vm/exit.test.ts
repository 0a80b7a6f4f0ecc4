import { describe, expect, test } from 'vitest';
import { SmartVMError } from '../../../ts/errors.js';
import { classifyExit } from '../../../ts/vm/exit.js';
import type { VmmExit } from '../../../ts/vmm/exit.js';

const exit = (fields: Partial<VmmExit>): VmmExit => ({
  exitCode: null,
  signal: null,
  reason: 'exited',
  startedAt: null,
  exitedAt: null,
  ...fields,
});
const errorWith = (...consoleTail: string[]) =>
  new SmartVMError('VMM_EXITED', 'it ended', { details: { consoleTail } });
const QUIET = errorWith('reboot: Restarting system');
const PANIC = errorWith('[    1.0] Kernel panic - not syncing: Attempted to kill init!', 'Rebooting in 1 seconds..');

describe('classifyExit', () => {
  test.each<[string, VmmExit, SmartVMError, boolean, string]>([
    ['exit code 0', exit({ exitCode: 0 }), QUIET, false, 'guest-shutdown'],
    ['exit code 0 behind a panic', exit({ exitCode: 0 }), PANIC, false, 'guest-panic'],
    ['exit code 1', exit({ exitCode: 1 }), QUIET, false, 'vmm-failed'],
    ['exit code 148', exit({ exitCode: 148 }), PANIC, false, 'vmm-failed'],
    ['SIGKILL', exit({ signal: 'SIGKILL' }), QUIET, false, 'vmm-killed'],
    ['SIGSEGV', exit({ signal: 'SIGSEGV' }), PANIC, false, 'vmm-killed'],
    ['the loss of its owner', exit({ exitCode: 0, reason: 'owner-gone' }), QUIET, false, 'vmm-killed'],
    ['the loss of its keeper', exit({ reason: 'keeper-lost' }), QUIET, false, 'vmm-killed'],
    ['the end of its time', exit({ signal: 'SIGKILL', reason: 'timeout' }), QUIET, false, 'timeout'],
    ['the end of its idle time', exit({ exitCode: 0, reason: 'idle-timeout' }), PANIC, false, 'idle-timeout'],
    ['a stop by another program', exit({ signal: 'SIGTERM', reason: 'stopped' }), QUIET, false, 'stopped'],
    ['a stop at the end of its time', exit({ exitCode: 0, reason: 'timeout' }), QUIET, true, 'stopped'],
    ['a stop', exit({ exitCode: 0 }), QUIET, true, 'stopped'],
    ['a stop by SIGKILL', exit({ signal: 'SIGKILL' }), PANIC, true, 'stopped'],
  ])('%s', (_what, vmmExit, error, stopping, reason) => {
    const orderly = ['stopped', 'guest-shutdown', 'timeout', 'idle-timeout'].includes(reason);
    expect(classifyExit(vmmExit, error, { stopping, guestShutDown: false })).toEqual({
      reason,
      orderly,
      exitCode: vmmExit.exitCode,
      signal: vmmExit.signal,
      error: orderly ? undefined : error,
    });
  });
});
