import { createHash } from 'node:crypto';

/** IFNAMSIZ is 16 with the NUL. */
const MAX_INTERFACE_NAME = 15;
const TAP_PREFIX = 'sv';

/**
 * The TAP of a VM's interface: at most 15 characters, from all of both ids.
 * @param attempt 0, unless another has the name
 */
export function tapNameOf(vmId: string, ifaceId: string, attempt = 0): string {
  return TAP_PREFIX + digestOf(vmId, ifaceId, attempt).slice(0, MAX_INTERFACE_NAME - TAP_PREFIX.length);
}

/** The MAC of a VM's interface, locally administered and unicast. */
export function macOf(vmId: string, ifaceId: string, attempt = 0): string {
  return macFrom(digestOf(vmId, ifaceId, attempt));
}

/** A MAC from the first ten hexadecimal digits. */
export function macFrom(hex: string): string {
  return `02:${hex.slice(0, 10).match(/../g)?.join(':')}`;
}

/** Hexadecimal SHA-256; as JSON, since joined by a separator two lists could be one. */
export function digest(...parts: readonly (string | number)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

function digestOf(vmId: string, ifaceId: string, attempt: number): string {
  return attempt === 0 ? digest(vmId, ifaceId) : digest(vmId, ifaceId, attempt);
}
