import { chmodSync } from 'node:fs';
import { type AddressInfo, createServer, isIP, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { assertOptions } from '../../config/validation/assert-options.js';
import { type Check, flag, integer, object, rule } from '../../config/validation/checks.js';
import { SmartVMError } from '../../errors.js';
import { assertSocketPath } from '../../util/socket-path.js';
import { type GuestAddress, hostText, MAX_PORT, pathText } from './address.js';
import { cut, joinConnections } from './join.js';

/** A port or Unix socket on one side, and one on the other. */
export interface ForwardPortOptions {
  /** TCP port in the guest, 1 to 65535; with `reverse` also 0: any that is free. */
  readonly guestPort?: number | undefined;
  /** Name or address in the guest. Default `localhost`. */
  readonly guestHost?: string | undefined;
  /** Unix socket in the guest, in place of a port. */
  readonly guestPath?: string | undefined;
  /** TCP port of the host, 0 to 65535. Default 0: any that is free. With `reverse` it is one at which somebody listens. */
  readonly hostPort?: number | undefined;
  /** Address of the host. Default 127.0.0.1. */
  readonly hostIp?: string | undefined;
  /** Unix socket of the host, in place of a port. It is made with mode 0600. */
  readonly hostPath?: string | undefined;
  /** The guest's programs connect to the host's. Default false: the host's to the guest's. */
  readonly reverse?: boolean | undefined;
}

/** A forwarding that is open until it is closed, or the VM ends or is let go of. */
export interface ForwardedPort extends AsyncDisposable {
  /** What of the host it is: an address and a port, or a path. */
  readonly hostIp: string | undefined;
  readonly hostPort: number | undefined;
  readonly hostPath: string | undefined;
  /** What of the guest it is. */
  readonly guestPort: number | undefined;
  readonly guestPath: string | undefined;
  /** Listens no more, and cuts the connections that are open. */
  close(): Promise<void>;
}

export const DEFAULT_HOST_IP = '127.0.0.1';

const check: Check = object<ForwardPortOptions>({
  guestPort: integer(0, MAX_PORT),
  guestHost: hostText,
  guestPath: pathText,
  hostPort: integer(0, MAX_PORT),
  hostIp: rule((value) => isIP(value) !== 0, 'must be an IPv4 or IPv6 address'),
  hostPath: pathText,
  reverse: flag,
});

/** @throws SmartVMError INVALID_OPTION, SOCKET_PATH_TOO_LONG */
export function assertForward(options: ForwardPortOptions): void {
  assertOptions(check, options, 'options');
  const { guestPort, guestPath, hostPort, hostPath, reverse = false } = options;
  const problem =
    (guestPort === undefined) === (guestPath === undefined)
      ? 'there is to be either guestPort or guestPath'
      : hostPort !== undefined && hostPath !== undefined
        ? 'there is to be hostPort or hostPath, not both'
        : !reverse && guestPort === 0
          ? 'guestPort can be 0, for any that is free, only with `reverse`'
          : reverse && !hostPort && hostPath === undefined
            ? 'with `reverse` hostPort or hostPath says where somebody of the host listens'
            : undefined;
  if (problem !== undefined) {
    throw new SmartVMError('INVALID_OPTION', problem);
  }
  if (hostPath !== undefined) {
    assertSocketPath(hostPath);
  }
}

export function guestSideOf({ guestPort, guestHost, guestPath }: ForwardPortOptions): GuestAddress {
  return guestPath === undefined ? { port: guestPort ?? 0, host: guestHost } : { path: guestPath };
}

/**
 * Listens on the host; each connection becomes one to the guest. One for which nobody listens in the guest is reset.
 * @throws SmartVMError PORT_TAKEN, INVALID_OPTION
 */
export async function forwardToGuest(options: ForwardPortOptions, dial: () => Promise<Duplex>): Promise<ForwardedPort> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    void carry(socket, dial);
  });
  await listen(server, options);
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) {
        socket.destroy();
      }
    });
  const { address: hostIp, port: hostPort } = addressOf(server);
  const { guestPort, guestPath, hostPath } = options;
  return { hostIp, hostPort, hostPath, guestPort, guestPath, close, [Symbol.asyncDispose]: close };
}

async function carry(socket: Socket, dial: () => Promise<Duplex>): Promise<void> {
  try {
    const guest = await dial();
    if (socket.destroyed) {
      guest.destroy();
    } else {
      joinConnections(socket, guest);
    }
  } catch {
    cut(socket); // which tells its program as much as the guest's kernel would
  }
}

function listen(server: Server, { hostIp = DEFAULT_HOST_IP, hostPort = 0, hostPath }: ForwardPortOptions) {
  return new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(refused(cause, { hostIp, hostPort, hostPath })));
    if (hostPath === undefined) {
      server.listen({ host: hostIp, port: hostPort, exclusive: true }, resolve);
      return;
    }
    server.listen({ path: hostPath, exclusive: true }, resolve);
    if (server.listening) {
      chmodSync(hostPath, 0o600); // in one turn with its making
    }
  }).finally(() => server.on('error', () => undefined)); // of a connection that this process had no room for
}

function refused(cause: NodeJS.ErrnoException, details: ForwardPortOptions): SmartVMError {
  const where = details.hostPath ?? `${details.hostIp} port ${details.hostPort}`;
  const isTaken = cause.code === 'EADDRINUSE';
  const why = isTaken ? 'it is taken; name another, or port 0 for any that is free' : cause.message;
  return new SmartVMError(isTaken ? 'PORT_TAKEN' : 'INVALID_OPTION', `cannot listen at ${where}: ${why}`, {
    cause,
    details: details.hostPath === undefined ? { ...details, protocol: 'tcp' } : { hostPath: details.hostPath },
  });
}

function addressOf(server: Server): Partial<AddressInfo> {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address : {};
}
