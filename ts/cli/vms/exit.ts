import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SmartVMError } from '../../errors.js';
import { delay } from '../../util/deadline.js';
import { getUnixJson } from '../../util/unix-json.js';
import { readExit, type VmmExit } from '../../vmm/exit.js';
import { type ListedVm, look } from './list.js';

const POLL_MS = 50;

/**
 * Waits for the end of a VM.
 * @returns how its VMM ended; `keeper-lost` where its keeper was killed before it could say it
 * @throws SmartVMError VM_NOT_FOUND when all that could say it has gone meanwhile; AbortError
 */
export async function waitForExit({ id, runtimeDir }: ListedVm, signal: AbortSignal): Promise<VmmExit> {
  for (;;) {
    const exit = await getUnixJson<VmmExit>(join(runtimeDir, 'keeper.sock'), '/exit', { signal }).catch(
      () => undefined,
    );
    signal.throwIfAborted();
    if (exit) {
      return exit;
    }
    const now = look(id, runtimeDir);
    // One that is being started has no keeper yet, and one that hangs up may be about to write the last word.
    if (now && 'status' in now && now.status !== 'exited') {
      await delay(POLL_MS, signal);
      continue;
    }
    const written = await readExit(runtimeDir);
    if (existsSync(runtimeDir)) {
      return written;
    }
    throw new SmartVMError('VM_NOT_FOUND', `VM ${id} ended before it could be asked how`, { details: { id } });
  }
}
