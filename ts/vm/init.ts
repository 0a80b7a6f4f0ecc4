import { SmartVMError } from '../errors.js';
import { awaitedInit } from '../guest/init.js';
import { delay } from '../util/deadline.js';
import { type BootContext, remaining, started } from './boot-context.js';

/** Waits until the image's own init is up, in a guest that is handed to it. */
export async function awaitInit(context: BootContext): Promise<void> {
  const { init, guest, signal } = context;
  if (init !== 'image' || !guest) {
    return;
  }
  const up = new AbortController();
  const late = delay(remaining(context), AbortSignal.any([signal, up.signal])).then(() => 'late' as const);
  const status = await Promise.race([awaitedInit(guest), late]).finally(() => up.abort());
  if (status === 'late') {
    throw await started(context).describe('BOOT_TIMEOUT', "the image's own init is not up in time");
  }
  const { lookedFor, why } = status;
  if (lookedFor) {
    throw new SmartVMError(
      'INIT_MISSING',
      `the image has no init of its own: there is no program ${lookedFor.join(', ')}. Take one that has, or \`init: 'agent'\``,
      { details: { lookedFor } },
    );
  }
  if (why !== undefined) {
    throw await started(context).describe('INIT_FAILED', `the image's init cannot be executed: ${why}`);
  }
}
