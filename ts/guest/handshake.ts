import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Client } from 'ssh2';
import { SmartVMError } from '../errors.js';
import { throwIfCanceled } from '../util/deadline.js';
import type { VmKeys } from './keys.js';
import type { DialOptions } from './types.js';
import { connectVsock, VSOCK_TIMEOUT_MS } from './vsock.js';

/** The port of the agent's SSH server: 22 is where systemd 256 and later puts the image's own. */
export const AGENT_VSOCK_PORT = 10022;
const HANDSHAKE_TIMEOUT_MS = 10_000;

export interface GuestConnectionOptions extends DialOptions {
  /** The VM's vsock socket on the host. */
  udsPath: string;
  keys: Pick<VmKeys, 'clientKey' | 'hostPublicKey'>;
}

/**
 * Dials the agent and authenticates both sides.
 * @throws SmartVMError AGENT_UNREACHABLE while the agent is not up, or is not the one with this VM's key; CANCELED
 */
export async function shakeHands(options: GuestConnectionOptions): Promise<{ client: Client; socket: Socket }> {
  const deadline = performance.now() + Math.min(options.timeoutMs ?? HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS);
  const remaining = () => Math.max(1, Math.ceil(deadline - performance.now()));
  const { default: ssh2 } = await import('ssh2'); // before there is a socket, which may break while nobody listens
  const socket = await connectVsock(options.udsPath, AGENT_VSOCK_PORT, {
    signal: options.signal,
    timeoutMs: Math.min(VSOCK_TIMEOUT_MS, remaining()),
  });
  const client = new ssh2.Client();
  client.on('error', () => undefined); // what comes after the first error is its echo
  client.on('end', () => socket.destroy()); // SSH has no half-open connections, nor half-open handshakes
  const abort = () => socket.destroy();
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    throwIfCanceled(options.signal, 'connecting to the guest agent');
    client.connect({
      sock: socket,
      username: 'root',
      privateKey: options.keys.clientKey,
      hostVerifier: (key: Buffer) => key.toString('base64') === options.keys.hostPublicKey,
      readyTimeout: remaining(),
      strictVendor: false, // Unix sockets are an extension of OpenSSH's, which is not the only one to have it
      algorithms: {
        // The agent offers what its CPU is quick at: an emulated one takes five times as long for AES-GCM as for ChaCha20.
        cipher: ['aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com'],
        kex: ['curve25519-sha256'],
        serverHostKey: ['ssh-ed25519'],
      },
    });
    const ended = once(client, 'close').then(() => Promise.reject(new Error('the connection ended')));
    // A socket that is cut in the middle of the handshake does not always end the client.
    const cut = new Promise<never>((_resolve, reject) => {
      const fail = () => reject(new Error('the connection was cut'));
      socket.destroyed ? fail() : socket.once('close', fail);
    });
    cut.catch(() => undefined);
    await Promise.race([once(client, 'ready'), ended, cut]);
    return { client, socket };
  } catch (cause) {
    socket.destroy();
    if (options.signal?.aborted) {
      throw new SmartVMError('CANCELED', 'connecting to the guest agent was canceled', { cause });
    }
    throw new SmartVMError('AGENT_UNREACHABLE', `SSH to the guest agent failed: ${(cause as Error).message}`, {
      cause,
    });
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}
