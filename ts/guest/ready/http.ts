import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { LOOPBACK } from '../ports/address.js';
import type { Guest } from '../types.js';
import type { HttpWait } from './types.js';
import { tailWords } from './words.js';

const MAX_BODY_BYTES = 64 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;

/**
 * Asks a server in the guest once.
 * @returns what is wrong with its answer; undefined for a good one
 * @throws SmartVMError PORT_UNREACHABLE and those of any call of the guest
 */
export async function askHttp(wait: HttpWait, guest: Guest, signal: AbortSignal): Promise<string | undefined> {
  const { port = 0, host, socketPath } = wait;
  const { request } = await import('node:http'); // for those alone who need it
  const socket = await guest.dial(socketPath === undefined ? { port, host } : { path: socketPath });
  socket.on('error', () => undefined); // the request has it
  const cut = () => socket.destroy();
  signal.addEventListener('abort', cut, { once: true });
  try {
    if (signal.aborted) {
      return 'no answer';
    }
    const asked = request({
      ...{ createConnection: () => socket, maxHeaderSize: MAX_HEADER_BYTES },
      ...{ host: host ?? LOOPBACK, ...(socketPath === undefined ? { port } : {}) }, // of the header Host
      method: wait.method ?? 'GET',
      path: wait.path ?? '/',
      headers: { Connection: 'close', 'User-Agent': 'smartvm', ...wait.headers },
    });
    const answer = await answerTo(asked, socket, wait);
    return typeof answer === 'string' ? answer : problemOf(answer, wait);
  } finally {
    signal.removeEventListener('abort', cut);
    socket.destroy();
  }
}

interface HttpAnswer {
  readonly status: number;
  /** Its beginning, where it is asked for. */
  readonly body: string;
}

/** The answer, as far as it is wanted; or why there is none. */
async function answerTo(request: ClientRequest, socket: Duplex, { body }: HttpWait): Promise<HttpAnswer | string> {
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve).once('upgrade', resolve).on('error', reject);
      socket.once('close', () => reject(new Error('it ended without an answer')));
      request.end();
    });
    return { status: response.statusCode ?? 0, body: body === undefined ? '' : await beginningOf(response) };
  } catch (error) {
    return `no answer of HTTP: ${(error as Error).message}`;
  }
}

function problemOf({ status, body }: HttpAnswer, wanted: HttpWait): string | undefined {
  if (!isWanted(status, wanted.status)) {
    return `HTTP ${status}`;
  }
  const { body: match } = wanted;
  const isFound = match === undefined || (typeof match === 'string' ? body.includes(match) : body.search(match) !== -1);
  return isFound ? undefined : `HTTP ${status} with another body, which ends ${tailWords(body)}`;
}

function isWanted(code: number, status: HttpWait['status']): boolean {
  if (typeof status === 'function') {
    return status(code);
  }
  return status === undefined ? code >= 200 && code < 400 : [status].flat().includes(code);
}

async function beginningOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MAX_BODY_BYTES) {
      break;
    }
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES).toString();
}
