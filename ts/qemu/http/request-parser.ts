import { isUtf8 } from 'node:buffer';
import type { Method } from '../api/routes.js';

/** A request line and each header must fit into this many bytes, line end included. */
const MAX_LINE_BYTES = 1024;
const CRLF = '\r\n';
const METHODS: ReadonlySet<string> = new Set(['GET', 'PUT', 'PATCH', 'DELETE']);

export interface HttpRequest {
  readonly method: Method;
  /** The absolute path; empty when the URI has none. */
  readonly path: string;
  /** Absent when Content-Length is 0 or missing. */
  readonly body: Buffer | undefined;
}

/** What reached the connection is not HTTP as Firecracker's server understands it. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
}

interface PendingRequest {
  readonly method: Method;
  readonly path: string;
  contentLength: number;
  expectsContinue: boolean;
}

/**
 * Reads the requests of one connection, with the limits, the order of checks and the words of Firecracker's HTTP
 * server, which differ from those of node:http: no chunked bodies, short lines, its own error texts.
 */
export class RequestParser {
  readonly #maxPayloadBytes: number;
  readonly #onContinue: () => void;
  #buffer: Buffer = Buffer.alloc(0);
  #pending: PendingRequest | undefined;
  #headersDone = false;

  constructor(maxPayloadBytes: number, onContinue: () => void) {
    this.#maxPayloadBytes = maxPayloadBytes;
    this.#onContinue = onContinue;
  }

  /**
   * Takes what arrived and gives the requests that are complete with it.
   * @throws HttpError
   */
  push(chunk: Buffer): HttpRequest[] {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    const requests: HttpRequest[] = [];
    while (this.#advance(requests)) {
      // each step consumes a line or a body
    }
    return requests;
  }

  #advance(requests: HttpRequest[]): boolean {
    const pending = this.#pending;
    if (pending && this.#headersDone) {
      return this.#takeBody(pending, requests);
    }
    const line = this.#takeLine(pending !== undefined);
    if (line === undefined) {
      return false;
    }
    if (!pending) {
      this.#pending = parseRequestLine(line);
    } else if (line.length === 0) {
      this.#endHeaders(pending);
    } else {
      parseHeader(pending, line);
    }
    return true;
  }

  #endHeaders(pending: PendingRequest): void {
    if (pending.contentLength > this.#maxPayloadBytes) {
      throw new HttpError(
        `Request payload with size ${pending.contentLength} is larger than the limit of ${this.#maxPayloadBytes} allowed by server.`,
      );
    }
    if (pending.contentLength > 0 && pending.expectsContinue) {
      this.#onContinue();
    }
    this.#headersDone = true;
  }

  #takeBody({ method, path, contentLength }: PendingRequest, requests: HttpRequest[]): boolean {
    if (this.#buffer.length < contentLength) {
      return false;
    }
    requests.push({ method, path, body: contentLength === 0 ? undefined : this.#take(contentLength) });
    this.#pending = undefined;
    this.#headersDone = false;
    return this.#buffer.length > 0;
  }

  #takeLine(inHeaders: boolean): Buffer | undefined {
    const end = this.#buffer.indexOf(CRLF);
    if (end > MAX_LINE_BYTES - CRLF.length || (end < 0 && this.#buffer.length >= MAX_LINE_BYTES)) {
      const start = this.#buffer.toString('utf8', 0, MAX_LINE_BYTES);
      throw new HttpError(
        inHeaders ? `Invalid header. Reason: Invalid content length. Header: ${start}` : 'Invalid request.',
      );
    }
    if (end < 0) {
      return undefined;
    }
    const line = this.#take(end);
    this.#take(CRLF.length);
    return line;
  }

  #take(length: number): Buffer {
    const taken = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return taken;
  }
}

function parseRequestLine(line: Buffer): PendingRequest {
  const methodEnd = line.indexOf(' ');
  const uriEnd = methodEnd < 0 ? -1 : line.indexOf(' ', methodEnd + 1);
  if (uriEnd < 0) {
    throw new HttpError('Invalid request.');
  }
  const method = line.toString('latin1', 0, methodEnd);
  if (!METHODS.has(method)) {
    throw new HttpError('Invalid HTTP Method: Unsupported HTTP method.');
  }
  const uri = line.subarray(methodEnd + 1, uriEnd);
  if (uri.length === 0) {
    throw new HttpError('Invalid URI: Empty URI not allowed.');
  }
  if (!isUtf8(uri)) {
    throw new HttpError('Invalid URI: Cannot parse URI as UTF-8.');
  }
  if (!/^HTTP\/1\.[01]$/.test(line.toString('latin1', uriEnd + 1))) {
    throw new HttpError('Invalid HTTP Version: Unsupported HTTP version.');
  }
  return { method: method as Method, path: absolutePath(uri.toString()), contentLength: 0, expectsContinue: false };
}

function absolutePath(uri: string): string {
  const scheme = 'http://';
  if (uri.startsWith(scheme)) {
    const slash = uri.indexOf('/', scheme.length);
    return slash < 0 ? '' : uri.slice(slash);
  }
  return uri.startsWith('/') ? uri : '';
}

function parseHeader(request: PendingRequest, line: Buffer): void {
  if (!isUtf8(line)) {
    throw new HttpError('Invalid header. Reason: Header contains invalid characters. Key: invalid utf-8 sequence');
  }
  const text = line.toString();
  const colon = text.indexOf(':');
  if (colon < 0) {
    throw new HttpError(`Invalid header. Reason: Header is incorrectly formatted. Key: ${text}`);
  }
  const name = text.slice(0, colon);
  const value = text.slice(colon + 1);
  switch (name.trim().toLowerCase()) {
    case 'content-length':
      request.contentLength = parseContentLength(name, value);
      break;
    case 'expect':
      request.expectsContinue = value.trim() === '100-continue';
      break;
    case 'accept-encoding':
      checkAcceptEncoding(value.trim());
      break;
  }
}

function parseContentLength(name: string, value: string): number {
  const length = /^\+?[0-9]+$/.test(value.trim()) ? Number(value) : Number.NaN;
  if (!(length < 2 ** 32)) {
    throw new HttpError(`Invalid header. Reason: Invalid value. Key:${name}; Value:${value}`);
  }
  return length;
}

function checkAcceptEncoding(value: string): void {
  if (value === '') {
    throw new HttpError('Invalid request.');
  }
  for (const encoding of value.split(',').map((part) => part.trim())) {
    if (encoding === 'identity;q=0' || (encoding === '*;q=0' && !value.includes('identity'))) {
      throw new HttpError(`Invalid header. Reason: Invalid value. Key:Accept-Encoding; Value:${encoding}`);
    }
  }
}
