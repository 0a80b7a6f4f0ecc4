import { SmartVMError } from '../errors.js';

/** Who is PID 1 in a guest: SmartVM's agent, or the init of the guest's own image, beside which the agent runs. */
export type GuestInit = 'agent' | 'image';

const MODES: readonly unknown[] = ['agent', 'image', undefined];

/**
 * For the kernel's command line. Interfaces keep the names that the kernel gives them: the agent has set them up by the time that udev would
 * give them others. On a console that says as little as ours, systemd is to say what it waits for when that takes long.
 */
const IMAGE_ARGUMENTS = 'net.ifnames=0 systemd.show_status=auto';

/** What an init is told by the kernel's command line. */
export function initArguments(init: GuestInit | undefined): string | undefined {
  return init === 'image' ? IMAGE_ARGUMENTS : undefined;
}

/** @throws SmartVMError INVALID_OPTION */
export function assertGuestInit(init: unknown): void {
  if (!MODES.includes(init)) {
    throw new SmartVMError('INVALID_OPTION', `init is ${JSON.stringify(init)}, not 'agent' or 'image'`);
  }
}
