import type { Channel, Client } from 'ssh2';
import { delay } from '../../util/deadline.js';
import { type GuestAddress, LOOPBACK } from './address.js';

/** The agent has 256 of one address open at a time, whose ends here may come late. One that does otherwise is refused more. */
const MAX_CONNECTIONS = 512;
/** A guest that is paused hears of it only when it goes on. */
const STOP_TIMEOUT_MS = 2_000;

interface Taker {
  readonly take: (channel: Channel) => void;
  /** Channels that are open: until the guest closes them too, and what it has sent is read. */
  open: number;
}

/** Connections that come over one SSH connection. Those that nobody takes are refused, so that none hangs in the guest. */
export class IncomingConnections {
  readonly #client: Client;
  readonly #takers = new Map<string, Taker>();

  constructor(client: Client) {
    this.#client = client;
    client.on('tcp connection', ({ destIP, destPort }, accept, reject) => {
      this.#come(keyOf({ host: destIP, port: destPort }), accept, reject);
    });
    client.on('unix connection', ({ socketPath }, accept, reject) => {
      this.#come(keyOf({ path: socketPath }), accept, reject);
    });
  }

  /** Asks the agent to listen in the guest; it says at which port. The first connection may come with its answer. */
  listen(
    address: GuestAddress,
    take: (channel: Channel) => void,
    done: (error: Error | undefined, bound: GuestAddress) => void,
  ): void {
    const answered = (error: Error | null | undefined, bound: GuestAddress) => {
      if (!error) {
        this.#takers.set(keyOf(bound), { take, open: 0 });
      }
      done(error ?? undefined, bound);
    };
    if ('path' in address) {
      this.#client.openssh_forwardInStreamLocal(address.path, (error) => answered(error, address));
    } else {
      this.#client.forwardIn(address.host ?? LOOPBACK, address.port, (error, port) =>
        answered(error, { ...address, port }),
      );
    }
  }

  /** No more is listened to, and none taken; an agent that is gone does not listen either. @param ended settles with the SSH connection */
  async stop(address: GuestAddress, ended: Promise<unknown>): Promise<void> {
    this.#takers.delete(keyOf(address));
    const client = this.#client;
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

  #come(key: string, accept: () => Channel, reject: () => void): void {
    const taker = this.#takers.get(key);
    if (!taker || taker.open >= MAX_CONNECTIONS) {
      reject();
      return;
    }
    taker.open += 1;
    const channel = accept();
    channel.once('close', () => {
      taker.open -= 1;
    });
    taker.take(channel);
  }
}

function keyOf(address: GuestAddress): string {
  return 'path' in address ? address.path : `${address.host ?? LOOPBACK} ${address.port}`;
}
