import { createServer, type Server, type Socket } from 'node:net';
import { listenUnix } from '../unix-socket.js';
import { HttpError, type HttpRequest, RequestParser } from './request-parser.js';

const MAX_CONNECTIONS = 10;
const HEADERS = 'Server: Firecracker API\r\nConnection: keep-alive\r\n';
const SERVER_FULL =
  'HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: close\r\nContent-Length: 40\r\n\r\n' +
  '{ "error": "Too many open connections" }';

export interface HttpResponse {
  readonly status: number;
  readonly body?: string | undefined;
  readonly deprecated?: boolean;
}

/**
 * Firecracker's HTTP server: at most 10 connections, answers in the order of the requests, one request served at a time
 * over all connections.
 */
export class HttpServer {
  readonly #server: Server;
  readonly #handle: (request: HttpRequest) => Promise<HttpResponse>;
  readonly #onAnswered: () => void;
  readonly #maxPayloadBytes: number;
  #connections = 0;
  #turn: Promise<void> = Promise.resolve();

  /** @param onAnswered told when an answer has gone out, or nobody is there to take it */
  constructor(
    maxPayloadBytes: number,
    handle: (request: HttpRequest) => Promise<HttpResponse>,
    onAnswered: () => void = () => undefined,
  ) {
    this.#maxPayloadBytes = maxPayloadBytes;
    this.#handle = handle;
    this.#onAnswered = onAnswered;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Binds the socket, which must not exist yet. It is never removed. @throws BindError */
  listen(path: string): Promise<void> {
    return listenUnix(this.#server, path);
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#connections >= MAX_CONNECTIONS) {
      socket.end(SERVER_FULL);
      socket.resume();
      return;
    }
    this.#connections++;
    socket.once('close', () => this.#connections--);
    const parser = new RequestParser(this.#maxPayloadBytes, () => socket.write(`HTTP/1.1 100 \r\n${HEADERS}\r\n`));
    let broken = false;
    socket.on('data', (chunk: Buffer) => {
      if (broken) {
        return;
      }
      try {
        for (const request of parser.push(chunk)) {
          this.#serve(socket, request);
        }
      } catch (error) {
        broken = true;
        refuse(socket, error);
      }
    });
  }

  #serve(socket: Socket, request: HttpRequest): void {
    this.#turn = this.#turn.then(async () => {
      const response = await this.#handle(request);
      if (socket.writable) {
        socket.write(render(response), () => this.#onAnswered());
      } else {
        this.#onAnswered();
      }
    });
  }
}

/** What follows a malformed request cannot be told from its rest: the connection only drains from here on. */
function refuse(socket: Socket, error: unknown): void {
  if (!(error instanceof HttpError)) {
    throw error;
  }
  const body = `{ "error": "${error.message}\nAll previous unanswered requests will be dropped." }`;
  socket.end(render({ status: 400, body }));
}

function render({ status, body, deprecated }: HttpResponse): string {
  const head = `HTTP/1.1 ${status} \r\n${HEADERS}${deprecated ? 'Deprecation: true\r\n' : ''}`;
  if (body === undefined) {
    return `${head}\r\n`;
  }
  return `${head}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
