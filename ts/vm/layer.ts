import { isKept } from '../util/held-file.js';
import type { MicroVMOptions } from './types.js';

/** Whether what the guest writes outlives the VM. */
export function keepsLayer({ claim, attach }: MicroVMOptions): boolean {
  return claim?.keeps ?? attach?.record.journal.layers?.some(isKept) ?? false;
}
