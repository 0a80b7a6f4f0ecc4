import { SmartVMError } from '../errors.js';
import { withDeadline } from '../util/deadline.js';
import type { BootContext } from './boot-context.js';
import { GuestLink, type GuestLinkOptions } from './guest-link.js';

/** What a guest takes that nobody accelerates, on a busy host, to answer when it is resumed. */
const TIMEOUT_MS = 60_000;

/** The connection to the guest of a VM that has been started or attached to, if it has an agent. */
export function linkTo(
  context: BootContext,
  options: Pick<GuestLinkOptions, 'expectsAnswer' | 'goneAfterMs'>,
): GuestLink | undefined {
  const { guest, dial, process: vmm, restore } = context;
  const onResume = renumbering(context);
  return dial && vmm && new GuestLink({ ...options, guest, dial, vmm, restored: restore !== undefined, onResume });
}

/**
 * Gives a guest that came out of a snapshot paused its own addresses when it runs: it has its twin's until then. Who attached to it
 * cannot know whether another has done so already, for inside of their namespaces twins have the same addresses: twice changes nothing.
 */
function renumbering({ id, restore, connection, attach }: BootContext): GuestLinkOptions['onResume'] {
  const own = restore?.resume === false ? connection?.attachments : undefined;
  const attachments = own ?? (attach?.restored ? attach.networks : undefined);
  if (attachments === undefined || attachments.length === 0) {
    return undefined;
  }
  let isTold = false;
  return async (reached) => {
    if (isTold) {
      return;
    }
    const tell = async () => {
      const guest = await reached();
      await guest.renumber(id, attachments);
    };
    await withDeadline(tell(), TIMEOUT_MS, () => unheard(id));
    isTold = true;
  };
}

function unheard(id: string): SmartVMError {
  return new SmartVMError(
    'GUEST_NETWORK_FAILED',
    `VM ${id} runs, and its agent does not answer: it may still have the addresses of the VM of its snapshot, from which nothing of it passes`,
    { details: { id } },
  );
}
