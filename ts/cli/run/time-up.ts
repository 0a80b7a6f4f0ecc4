import { join } from 'node:path';
import { defaultRuntimeDir } from '../../config/directories.js';
import { delay } from '../../util/deadline.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import { readVmStatus } from '../../vmm/registry/state.js';
import { EXIT_TIMED_OUT } from '../process-exit.js';
import { reportNotice } from '../report.js';

/** From here on, an exit code says that a signal ended the command, as the end of its VM does. */
const FIRST_SIGNAL = 129;
/** A keeper gives the guest ten seconds to end, and the VMM another. */
const END_MS = 12_000;

/**
 * The exit code of a command, which is that of a timeout where its VM's own time was up before it ended.
 * @param end settles with the exit code that it has otherwise
 */
export async function exitCodeInTime(vm: MicroVM, end: Promise<number>): Promise<number> {
  const code = await end.catch(async (error: unknown) => {
    if (await isTimeUp(vm)) {
      return FIRST_SIGNAL; // the VM went before the command's end was heard of
    }
    throw error;
  });
  if (code < FIRST_SIGNAL || !(await isTimeUp(vm))) {
    return code;
  }
  reportNotice(`the time of VM ${vm.id} (--ttl) was up, and its keeper stopped it`);
  return EXIT_TIMED_OUT;
}

/** A keeper that stops a VM takes its limit from what it writes down; what came of that, the VM's exit says. */
async function isTimeUp(vm: MicroVM): Promise<boolean> {
  if (!vm.exit && readVmStatus(join(defaultRuntimeDir(), vm.id))?.expiresAt !== undefined) {
    return false;
  }
  const late = new AbortController();
  const exit = new Promise<void>((resolve) => vm.once('exit', () => resolve()));
  if (!vm.exit) {
    await Promise.race([exit, delay(END_MS, late.signal)]);
    late.abort();
  }
  return vm.exit?.reason === 'timeout';
}
