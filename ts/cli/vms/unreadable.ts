import type { UnreadableEntry } from '../../vmm/registry/scan.js';
import { printable } from '../printable.js';

/** Says which directories are left out of a list, and why. */
export function warnOfUnreadable(entries: readonly UnreadableEntry[]): void {
  for (const { path, message } of entries) {
    console.error(printable(`smartvm: warning: ${path} is left out: its record cannot be used: ${message}`));
  }
}
