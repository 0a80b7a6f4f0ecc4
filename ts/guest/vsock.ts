import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { SmartVMError } from '../errors.js';
import { linkSignals } from '../util/deadline.js';
import { readFirstLine } from '../util/first-line.js';
import { assertSocketPath } from '../util/socket-path.js';

export interface VsockOptions {
  /** Deadline of the handshake in milliseconds. A paused guest does not answer. Default 2,000. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** Most milliseconds of a handshake, unless told otherwise. */
export const VSOCK_TIMEOUT_MS = 2_000;
/** `OK <port>\n` with the longest 32-bit port has 14 bytes. */
const MAX_ANSWER_BYTES = 32;

/**
 * Opens a stream to a port of the guest over Firecracker's vsock socket: `CONNECT port\n`, `OK n\n`, then the stream.
 * @see https://github.com/firecracker-microvm/firecracker/blob/main/docs/vsock.md
 * @throws SmartVMError AGENT_UNREACHABLE when nobody listens, hangs or answers something else; CANCELED
 */
export async function connectVsock(udsPath: string, port: number, options: VsockOptions = {}): Promise<Socket> {
  assertSocketPath(udsPath);
  const timeoutMs = options.timeoutMs ?? VSOCK_TIMEOUT_MS;
  using linked = linkSignals([options.signal], timeoutMs);
  const { signal } = linked;
  // Half-open: an end in one direction is not the end of the other.
  const socket = connect({ path: udsPath, allowHalfOpen: true });
  const abort = () => socket.destroy(new Error('aborted'));
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    await once(socket, 'connect');
    socket.write(`CONNECT ${port}\n`);
    await readAnswer(socket);
    return socket;
  } catch (cause) {
    socket.destroy();
    if (options.signal?.aborted) {
      throw new SmartVMError('CANCELED', `dialling vsock port ${port} was canceled`, { cause });
    }
    const why = linked.timedOut ? `no answer within ${timeoutMs} ms` : (cause as Error).message;
    throw new SmartVMError('AGENT_UNREACHABLE', `vsock port ${port} of ${udsPath}: ${why}`, { cause });
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Reads the answer's line; what came behind it is the stream's. */
async function readAnswer(socket: Socket): Promise<void> {
  const line = await readFirstLine(socket, MAX_ANSWER_BYTES);
  if (/^OK \d{1,10}\n$/.test(line)) {
    return;
  }
  const said = line.endsWith('\n') ? JSON.stringify(line.slice(0, -1)) : 'the line does not end';
  const isOver = !line.endsWith('\n') && line.length <= MAX_ANSWER_BYTES;
  throw new Error(isOver ? 'refused: nobody listens there' : `not a vsock handshake: ${said}`);
}
