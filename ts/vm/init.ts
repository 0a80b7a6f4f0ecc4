import { SmartVMError } from '../errors.js';
import type { Guest } from '../guest/types.js';
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

/** How it went with the image's own init. */
interface InitStatus {
  /** Paths at which there is none. */
  readonly lookedFor: readonly string[] | undefined;
  /** Why it could not be executed. */
  readonly why: string | undefined;
}

const MAX_PATHS = 32;
const MAX_TEXT = 1024;

/** Asks how the image's own init has come up, which is answered once it has. @throws SmartVMError AGENT_FAILED, AGENT_UNREACHABLE */
async function awaitedInit(guest: Guest): Promise<InitStatus> {
  const { init, state, lookedFor, why } = (await guest.control('init', {}, 2)) as Record<string, unknown>;
  if (init !== 'image' || (state !== 'up' && lookedFor === undefined && why === undefined)) {
    throw new SmartVMError('AGENT_FAILED', 'the guest agent says nothing that is understood of the init of the image');
  }
  return {
    lookedFor: Array.isArray(lookedFor)
      ? lookedFor.slice(0, MAX_PATHS).map((path) => String(path).slice(0, MAX_TEXT))
      : undefined,
    why: textOf(why),
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, MAX_TEXT) : undefined;
}
