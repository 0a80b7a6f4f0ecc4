import type { Dispatcher, Pool } from 'undici';
import { assertSocketPath } from '../util/socket-path.js';
import { traced } from '../util/traced.js';
import { API_CALL, type ApiCallMessage } from './api-channel.js';
import { type ApiCall, ApiError, refusal, transportError } from './api-error.js';
import { type ExchangeRequest, exchange } from './exchange.js';

export interface SocketClientOptions {
  /** Path of the API's Unix socket, at most 107 bytes. */
  socketPath: string;
  /** Deadline of a call in milliseconds; 0 means none. Default 10,000. */
  timeoutMs?: number;
}

export interface CallOptions {
  /** Deadline of this call in milliseconds; 0 means none. Default: the client's. */
  timeoutMs?: number | undefined;
  /** Ends the call early, with CANCELED. */
  signal?: AbortSignal | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;
/** Firecracker serves 10 connections and answers the eleventh with 503; others may want theirs. */
const MAX_CONNECTIONS = 4;
/** Firecracker's default for `--http-api-max-payload-size`. */
const PAYLOAD_LIMIT_BYTES = 51_200;
/** Firecracker keeps idle connections; so do we, for as long as a client lives. */
const KEEP_ALIVE_MS = 600_000;

/**
 * HTTP over the Unix socket of a VMM (or of a keeper): one deadline a call, typed errors, nothing else.
 *
 * Every method rejects with an {@link ApiError}: API_REFUSED (status 400 and above, with the VMM's `faultMessage`),
 * API_BUSY (503: too many connections), API_TIMEOUT, API_UNREACHABLE (nobody listens, or hung up in mid-call),
 * API_BAD_ANSWER (not HTTP, not JSON, or endless) or CANCELED.
 */
export class SocketClient {
  readonly socketPath: string;
  readonly #timeoutMs: number;
  #pool: Promise<Pool> | undefined;
  #closed = false;

  /** @throws SmartVMError SOCKET_PATH_TOO_LONG: a longer path would reach another socket */
  constructor(options: SocketClientOptions) {
    assertSocketPath(options.socketPath);
    this.socketPath = options.socketPath;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /** The answer's JSON, typed by the caller. */
  async get<T>(path: string, options?: CallOptions): Promise<T> {
    return (await this.request('GET', path, undefined, options)) as T;
  }

  async put(path: string, body: unknown, options?: CallOptions): Promise<void> {
    await this.request('PUT', path, body, options);
  }

  async patch(path: string, body: unknown, options?: CallOptions): Promise<void> {
    await this.request('PATCH', path, body, options);
  }

  async delete(path: string, options?: CallOptions): Promise<void> {
    await this.request('DELETE', path, undefined, options);
  }

  /** Any call: the JSON of a 2xx answer, or undefined when it has no body (204). */
  async request(method: Dispatcher.HttpMethod, path: string, body?: unknown, options?: CallOptions): Promise<unknown> {
    const call = { method, path, socketPath: this.socketPath };
    const limits = { timeoutMs: options?.timeoutMs ?? this.#timeoutMs, signal: options?.signal };
    const message: ApiCallMessage = { ...call };
    return await traced(API_CALL, message, async () => {
      const { status, text } = await exchange(await this.#open(call), call, payload(body), limits);
      message.status = status;
      if (status >= 400) {
        throw refusal(call, status, text);
      }
      return text === '' ? undefined : parseJson(text, call, status);
    });
  }

  /** The body of a GET as it comes, for as long as it comes: no deadline, only the signal ends it early. */
  async *stream(path: string, signal?: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    const call = { method: 'GET', path, socketPath: this.socketPath };
    try {
      const pool = await this.#open(call);
      const response = await pool.request({ method: 'GET', path, ...(signal ? { signal } : {}) });
      if (response.statusCode >= 400) {
        throw refusal(call, response.statusCode, await response.body.text());
      }
      yield* response.body as AsyncIterable<Buffer>;
    } catch (error) {
      throw typed(error, call, signal?.aborted === true);
    }
  }

  /** Waits for the calls under way, then closes the connections. Later calls are API_UNREACHABLE. */
  async close(): Promise<void> {
    this.#closed = true;
    const pool = await this.#pool;
    if (pool?.destroyed === false) {
      await pool.close();
    }
  }

  /** Cuts the calls under way. */
  async destroy(): Promise<void> {
    this.#closed = true;
    await (await this.#pool)?.destroy();
  }

  async #open(call: ApiCall): Promise<Pool> {
    if (this.#closed) {
      throw new ApiError('API_UNREACHABLE', 'the client is closed', call);
    }
    this.#pool ??= openPool(this.socketPath);
    return await this.#pool;
  }
}

/** undici takes 60 ms to load, which nobody should pay who makes no call. */
async function openPool(socketPath: string): Promise<Pool> {
  const { Pool } = await import('undici');
  // undici's own timeouts are coarse (a second and more late): the signal of each call is its deadline.
  return new Pool('http://localhost', {
    socketPath,
    connections: MAX_CONNECTIONS,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
  });
}

/** A body of known length: undici then sends Content-Length, which Firecracker insists on. */
function payload(body: unknown): ExchangeRequest {
  if (body === undefined) {
    return {};
  }
  const isBytes = body instanceof Uint8Array;
  const bytes = isBytes ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
  return {
    body: bytes,
    headers: { 'content-type': isBytes ? 'application/octet-stream' : 'application/json' },
    // Firecracker reads the rest of a body that it refuses for its size as the next request: none may follow.
    reset: bytes.length > PAYLOAD_LIMIT_BYTES,
  };
}

function parseJson(text: string, call: ApiCall, status: number): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // What the metadata service holds may be secret; V8's message of the cause quotes it too.
    const isSecret = call.path === '/mmds';
    const said = isSecret ? '' : `: ${text.slice(0, 200)}`;
    const options = isSecret ? { status } : { cause, status };
    throw new ApiError('API_BAD_ANSWER', `the answer is not JSON${said}`, call, options);
  }
}

/** An aborted call rejects with whatever the socket said or the caller gave as a reason: the signal knows better. */
function typed(error: unknown, call: ApiCall, aborted: boolean): ApiError {
  if (error instanceof ApiError) {
    return error;
  }
  return aborted ? new ApiError('CANCELED', 'canceled', call, { cause: error }) : transportError(call, error as Error);
}
