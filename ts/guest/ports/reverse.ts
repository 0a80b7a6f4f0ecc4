import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { isSmartVMError } from '../../errors.js';
import { delay } from '../../util/deadline.js';
import type { Guest } from '../types.js';
import type { GuestAddress } from './address.js';
import { DEFAULT_HOST_IP, type ForwardedPort, type ForwardPortOptions, guestSideOf } from './forward.js';
import { cut, joinConnections } from './join.js';

const AGAIN_MS = 200;

/**
 * Listens in the guest; each connection becomes one to the host. It is listened for anew when the connection to the agent was lost.
 * @throws SmartVMError AGENT_FAILED when the guest does not let it listen there; AGENT_UNREACHABLE, VMM_EXITED
 */
export async function forwardToHost(options: ForwardPortOptions, guest: () => Promise<Guest>): Promise<ForwardedPort> {
  const sockets = new Set<Socket>();
  const over = new AbortController();
  const take = (channel: Duplex) => {
    if (over.signal.aborted) {
      channel.destroy();
      return;
    }
    const socket = dialHost(options);
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    joinConnections(channel, socket);
  };
  const listenAt = async (address: GuestAddress) => {
    const current = await guest();
    return { closed: current.closed, ...(await current.listen(address, take)) };
  };
  let listener = await listenAt(guestSideOf(options));
  const { address } = listener;
  const watch = async () => {
    while (!over.signal.aborted) {
      await Promise.race([listener.closed, aborted(over.signal)]);
      for (let listens = false; !listens && !over.signal.aborted; ) {
        try {
          listener = await listenAt(address);
          listens = true;
        } catch (error) {
          if (isSmartVMError(error, 'VMM_EXITED', 'NO_CLIENT')) {
            return;
          }
          await delay(AGAIN_MS, over.signal);
        }
      }
    }
    await listener.stop();
  };
  const watched = watch();
  const close = async () => {
    over.abort();
    for (const socket of sockets) {
      cut(socket);
    }
    await watched;
  };
  const { hostPort, hostPath, guestPath } = options;
  const hostIp = hostPath === undefined ? (options.hostIp ?? DEFAULT_HOST_IP) : undefined;
  const guestPort = 'port' in address ? address.port : undefined;
  return { hostIp, hostPort, hostPath, guestPort, guestPath, close, [Symbol.asyncDispose]: close };
}

function dialHost({ hostIp = DEFAULT_HOST_IP, hostPort = 0, hostPath }: ForwardPortOptions): Socket {
  return hostPath === undefined
    ? connect({ host: hostIp, port: hostPort, allowHalfOpen: true, noDelay: true })
    : connect({ path: hostPath, allowHalfOpen: true });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
    if (signal.aborted) {
      resolve();
    }
  });
}
