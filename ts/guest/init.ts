import { SmartVMError } from '../errors.js';
import type { Guest } from './types.js';

/** How it went with the image's own init. */
export interface InitStatus {
  /** Paths at which there is none. */
  readonly lookedFor: readonly string[] | undefined;
  /** Why it could not be executed. */
  readonly why: string | undefined;
}

const MAX_PATHS = 32;
const MAX_TEXT = 1024;

/** Asks how the image's own init has come up, which is answered once it has. @throws SmartVMError AGENT_FAILED, AGENT_UNREACHABLE */
export async function awaitedInit(guest: Guest): Promise<InitStatus> {
  const { init, state, lookedFor, why } = (await guest.control('init', {}, 2)) as Record<string, unknown>;
  if (init !== 'image' || (state !== 'up' && lookedFor === undefined && why === undefined)) {
    throw new SmartVMError('AGENT_FAILED', 'the guest agent says nothing that is understood of the init of the image');
  }
  return {
    lookedFor: Array.isArray(lookedFor) ? lookedFor.slice(0, MAX_PATHS).map(String) : undefined,
    why: textOf(why),
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, MAX_TEXT) : undefined;
}
