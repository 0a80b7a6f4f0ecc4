import { delay, throwIfCanceled } from '../util/deadline.js';
import { type BootContext, remaining, started } from './boot-context.js';

const AGENT_POLL_MS = 15;

/** Waits for the agent, in a guest that has one. */
export async function connectAgent(context: BootContext): Promise<void> {
  const { dial, signal } = context;
  if (!dial || context.restore?.resume === false) {
    return; // a stranger, or one that is paused
  }
  const vmm = started(context);
  void vmm.reachKeeper(); // it begins while the guest does
  let refusal: unknown;
  while (vmm.exit === undefined) {
    throwIfCanceled(signal, `the start of VM ${context.id}`);
    if (remaining(context) <= 1) {
      throw await vmm.describe(
        'BOOT_TIMEOUT',
        `the guest agent did not answer in time (${(refusal as Error)?.message})`,
      );
    }
    try {
      const guest = await dial({ signal, timeoutMs: remaining(context), explain: (error) => vmm.explain(error) });
      context.guest = guest;
      context.cleanup.push('guest connection', () => guest.close());
      return;
    } catch (error) {
      refusal = error;
    }
    await Promise.race([delay(AGENT_POLL_MS, signal), vmm.exited]);
  }
  throw vmm.exitError;
}

/** The command whose end is the VM's, though not before the start is through. */
export async function startCommand(context: BootContext): Promise<void> {
  const { command, guest } = context;
  if (command) {
    context.letGoOfCommand = await guest?.spawnDetached(command, { console: true, endsVm: true });
  }
}

/** A guest that is in networks is through with them before its command runs. One from a snapshot has what its twin had until then. */
export async function awaitGuestNetwork({ id, guest, connection, restore }: BootContext): Promise<void> {
  if (connection && connection.interfaces.length > 0) {
    await (restore ? guest?.renumber(id, connection.attachments) : guest?.network());
  }
}
