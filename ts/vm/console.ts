import type { EventEmitter } from 'node:events';
import type { VmmProcess } from '../vmm/vmm-process.js';
import type { MicroVMEvents } from './types.js';

/**
 * Emits the console from what is kept of its start to its end, once somebody listens; never rejects. Without a listener the
 * keeper is not asked for it.
 */
export async function pumpConsole(vmm: VmmProcess, emitter: EventEmitter<MicroVMEvents>): Promise<void> {
  await Promise.race([firstListener(emitter), vmm.exited]);
  if (emitter.listenerCount('console') === 0) {
    return;
  }
  try {
    for await (const chunk of vmm.console()) {
      // A listener that throws ends its program, as for any event, and not the console.
      queueMicrotask(() => emitter.emit('console', chunk));
    }
  } catch {
    // The keeper is gone, and the console with it: 'exit' says so.
  }
}

function firstListener(emitter: EventEmitter<MicroVMEvents>): Promise<void> {
  return new Promise((resolve) => {
    const onNew = (event: string | symbol) => {
      if (event === 'console') {
        settle();
      }
    };
    const settle = () => {
      (emitter as EventEmitter).off('newListener', onNew);
      resolve();
    };
    (emitter as EventEmitter).on('newListener', onNew);
    if (emitter.listenerCount('console') > 0) {
      settle();
    }
  });
}
