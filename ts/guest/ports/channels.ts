import type { Channel, Client } from 'ssh2';
import { type GuestAddress, LOOPBACK } from './address.js';

type Done<T> = (error: Error | undefined, value: T) => void;

/** Asks for a channel to a socket in the guest. */
export function askForSocket(client: Client, address: GuestAddress, done: Done<Channel>): void {
  if ('path' in address) {
    client.openssh_forwardOutStreamLocal(address.path, done);
  } else {
    client.forwardOut('127.0.0.1', 0, address.host ?? LOOPBACK, address.port, done);
  }
}
