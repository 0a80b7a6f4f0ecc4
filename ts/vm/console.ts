import type { EventEmitter } from 'node:events';
import type { VmmProcess } from '../vmm/vmm-process.js';
import type { MicroVMEvents } from './types.js';

/** Emits the console, where somebody listens, from its start to its end; never rejects. */
export async function pumpConsole(vmm: VmmProcess, emitter: EventEmitter<MicroVMEvents>): Promise<void> {
  if (emitter.listenerCount('console') === 0) {
    return;
  }
  try {
    for await (const chunk of vmm.console()) {
      emitter.emit('console', chunk);
    }
  } catch {
    // The keeper is gone, and the console with it: 'exit' says so.
  }
}
