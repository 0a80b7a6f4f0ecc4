import type { EventEmitter } from 'node:events';
import type { MicroVMEvents } from './types.js';

/**
 * Emits an event at once. What a listener throws ends its program as an uncaught exception, as it does where Node itself emits, and
 * not the work of the VM in whose middle it was told.
 */
export function tell<Event extends keyof MicroVMEvents>(
  emitter: EventEmitter<MicroVMEvents>,
  event: Event,
  ...args: MicroVMEvents[Event]
): void {
  try {
    (emitter as EventEmitter).emit(event, ...args);
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
