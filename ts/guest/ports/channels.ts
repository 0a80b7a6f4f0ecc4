import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { Channel, Client } from 'ssh2';
import { delay } from '../../util/deadline.js';
import { type GuestAddress, LOOPBACK } from './address.js';

type Done<T> = (error: Error | undefined, value: T) => void;
type Accept = () => Channel;

/** Asks for a channel to a socket in the guest. */
export function askForSocket(client: Client, address: GuestAddress, done: Done<Channel>): void {
  if ('path' in address) {
    client.openssh_forwardOutStreamLocal(address.path, done);
  } else {
    client.forwardOut('127.0.0.1', 0, address.host ?? LOOPBACK, address.port, done);
  }
}

/** Asks the agent to listen in the guest; it says at which port. */
export function askToListen(client: Client, address: GuestAddress, done: Done<GuestAddress>): void {
  if ('path' in address) {
    client.openssh_forwardInStreamLocal(address.path, (error) => done(error ?? undefined, address));
  } else {
    client.forwardIn(address.host ?? LOOPBACK, address.port, (error, port) => done(error, { ...address, port }));
  }
}

/** A guest that is paused hears of it only when it goes on. */
const STOP_TIMEOUT_MS = 2_000;

/** No more is listened to; an agent that is gone does not listen either. */
export async function stopListening(client: Client, address: GuestAddress, ended: Promise<unknown>): Promise<void> {
  const told = new Promise<void>((resolve) => {
    try {
      if ('path' in address) {
        client.openssh_unforwardInStreamLocal(address.path, () => resolve());
      } else {
        client.unforwardIn(address.host ?? LOOPBACK, address.port, () => resolve());
      }
    } catch {
      resolve();
    }
  });
  const over = new AbortController();
  await Promise.race([told, ended, delay(STOP_TIMEOUT_MS, over.signal)]);
  over.abort();
}

/** Takes the connections that come to an address at which the agent listens. @returns what stops it */
export function takeConnections(client: Client, address: GuestAddress, take: (accept: Accept) => void): () => void {
  if ('path' in address) {
    const onUnix = (details: { socketPath: string }, accept: Accept) => {
      if (details.socketPath === address.path) {
        take(accept);
      }
    };
    client.on('unix connection', onUnix);
    return () => client.off('unix connection', onUnix);
  }
  const host = address.host ?? LOOPBACK;
  const onTcp = (details: { destIP: string; destPort: number }, accept: Accept) => {
    if (details.destIP === host && details.destPort === address.port) {
      take(accept);
    }
  };
  client.on('tcp connection', onTcp);
  return () => client.off('tcp connection', onTcp);
}

/** Settles when a connection has closed; never rejects. */
export async function closeOf(stream: Duplex): Promise<void> {
  if (!stream.closed) {
    await once(stream, 'close').catch(() => closeOf(stream));
  }
}
