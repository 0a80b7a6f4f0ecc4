import { join } from 'node:path';
import { delay } from '../../util/deadline.js';
import { getUnixJson } from '../../util/unix-json.js';
import { readExit, type VmmExit } from '../../vmm/exit.js';
import { type ListedVm, look } from './list.js';

const POLL_MS = 50;

/**
 * Waits for the end of a VM.
 * @returns how its VMM ended; `keeper-lost` where nobody can say it any more
 * @throws AbortError
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
    if (!now || 'problem' in now || now.status === 'exited') {
      return await readExit(runtimeDir);
    }
    await delay(POLL_MS, signal);
  }
}
