import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { SocketClient } from '../../ts/firecracker/socket-client.js';
import { scratchDirectory } from './scratch.js';

/** A server on a Unix socket in a scratch directory. */
export interface UnixServer extends AsyncDisposable {
  readonly socketPath: string;
  /** The connections that are open. */
  readonly sockets: ReadonlySet<Socket>;
  /** How many connections have ended. */
  readonly ended: number;
  /** How many there have been at once. */
  readonly mostSockets: number;
}

/** One HTTP request as it came over the wire. */
export interface WireRequest {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export async function httpServer(listener: RequestListener): Promise<UnixServer> {
  return await serve(createHttpServer(listener));
}

/** A server that may say what is no HTTP: it is called with each connection once the head of a request has come. */
export async function rawServer(onRequest: (socket: Socket, head: string) => void): Promise<UnixServer> {
  return await serve(createServer((socket) => socket.on('data', (head: Buffer) => onRequest(socket, head.toString()))));
}

export async function readRequest(request: IncomingMessage): Promise<WireRequest> {
  const { method, url, headers } = request;
  return { method, url, headers, body: await text(request) };
}

async function serve(server: Server): Promise<UnixServer> {
  const scratch = await scratchDirectory();
  const socketPath = scratch.file('api.sock');
  const sockets = new Set<Socket>();
  let [mostSockets, ended] = [0, 0];
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    mostSockets = Math.max(mostSockets, sockets.size);
    socket
      .on('error', () => undefined)
      .on('close', () => {
        sockets.delete(socket);
        ended++;
      });
  });
  server.listen(socketPath);
  await once(server, 'listening');
  return {
    socketPath,
    sockets,
    get ended() {
      return ended;
    },
    get mostSockets() {
      return mostSockets;
    },
    async [Symbol.asyncDispose]() {
      await closeServer(server, sockets);
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/** Closes a server and what is still connected to it. */
export async function closeServer(server: Server, sockets: Iterable<Socket>): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  for (const socket of sockets) {
    socket.destroy();
  }
  await closed;
}

/** A client that is destroyed with its scope. */
export function clientOf({ socketPath }: Pick<UnixServer, 'socketPath'>, timeoutMs = 5_000) {
  const client = new SocketClient({ socketPath, timeoutMs });
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.destroy() });
}

/** A whole answer of HTTP/1.1. */
export const httpAnswer = (status: number, body: string) =>
  `HTTP/1.1 ${status} Whatever\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
