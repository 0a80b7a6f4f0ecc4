import type { GuestAccess } from './access.js';
import { GuestConnection } from './connection.js';
import type { DialGuest } from './types.js';

/** The way to the agent of a guest. */
export function dialerOf(access: GuestAccess): DialGuest {
  return (options) => GuestConnection.open({ ...options, ...access });
}
