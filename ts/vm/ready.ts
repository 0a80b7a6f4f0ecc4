import { SmartVMError } from '../errors.js';
import { type ReadySource, waitUntilReady } from '../guest/ready/ready.js';
import type { Guest } from '../guest/types.js';
import type { VmmProcess } from '../vmm/vmm-process.js';
import { type BootContext, started } from './boot-context.js';
import { refuseWithoutAgent } from './without-agent.js';

const DIAL_TIMEOUT_MS = 10_000;

/** What a VM that runs can be asked. */
export function readySourceOf(id: string, vmm: VmmProcess, guest: () => Promise<Guest>): ReadySource {
  return {
    guest,
    console: (signal) => vmm.console(signal),
    ended: vmm.exited.then(() => vmm.exitError ?? new SmartVMError('VMM_EXITED', `the VMM of ${id} has ended`)),
    late: async (what, details) => new SmartVMError('READY_TIMEOUT', `VM ${id}: ${what}`, { details }),
  };
}

/** Waits for what the VM is to be ready for. Its command may end it from here on: a server that has crashed is not waited for. */
export async function awaitReadiness(context: BootContext, signal: AbortSignal): Promise<void> {
  const { id, ready } = context;
  if (!ready.readyWhen) {
    return;
  }
  context.letGoOfCommand?.();
  context.letGoOfCommand = undefined;
  const vmm = started(context);
  const source = {
    ...readySourceOf(id, vmm, guestOf(context, vmm, signal)),
    // All of the VM is undone then: its console with it.
    late: (what: string, details: object) => vmm.describe('READY_TIMEOUT', what, details),
  };
  await waitUntilReady(ready.readyWhen, source, { timeoutMs: ready.readyTimeoutMs, signal });
}

/** The guest, when a connection that broke is there again. */
function guestOf(context: BootContext, vmm: VmmProcess, signal: AbortSignal): () => Promise<Guest> {
  let current: Promise<Guest> | undefined;
  const watched = (guest: Guest) => {
    void guest.closed.then(() => {
      current = undefined;
    });
    return guest;
  };
  const redial = async () => {
    const { id, dial, cleanup } = context;
    if (!dial) {
      return refuseWithoutAgent(id);
    }
    const guest = await dial({ signal, timeoutMs: DIAL_TIMEOUT_MS, explain: (error) => vmm.explain(error) });
    cleanup.push('guest connection', () => guest.close());
    context.guest = guest;
    return watched(guest);
  };
  if (context.guest) {
    current = Promise.resolve(watched(context.guest));
  }
  return () => {
    current ??= redial().catch((error: unknown) => {
      current = undefined;
      throw error;
    });
    return current;
  };
}
