import { join } from 'node:path';

/** The part of a VM's runtime directory that its VMM may write to: sockets, drives, FIFOs. */
export function vmmFolder(runtimeDir: string): string {
  return join(runtimeDir, 'vmm');
}
