import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { SmartVMError } from '../errors.js';
import { linkSignals } from '../util/deadline.js';
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

/** Reads the answer's line and puts what came behind it in the same read back for the stream's reader. */
function readAnswer(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let answer = Buffer.alloc(0);
    const settle = (problem?: Error) => {
      socket.off('readable', onReadable).off('end', onEnd).off('error', settle).off('close', onEnd);
      problem ? reject(problem) : resolve();
    };
    const onEnd = () => settle(new Error('refused: nobody listens there'));
    const onReadable = () => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
        answer = Buffer.concat([answer, chunk]);
        const end = answer.indexOf('\n');
        if (end !== -1 && end <= MAX_ANSWER_BYTES) {
          socket.unshift(answer.subarray(end + 1));
          const line = answer.toString('latin1', 0, end);
          settle(/^OK \d{1,10}$/.test(line) ? undefined : new Error(`not a vsock handshake: ${JSON.stringify(line)}`));
          return;
        }
        if (answer.length > MAX_ANSWER_BYTES) {
          settle(new Error('not a vsock handshake: the line does not end'));
          return;
        }
      }
    };
    socket.on('readable', onReadable).on('end', onEnd).on('error', settle).on('close', onEnd);
  });
}
