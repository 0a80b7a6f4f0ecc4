import { once } from 'node:events';
import http2 from 'node:http2';
import { createConnection, createServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VsockDevice } from '../../../ts/qemu/vsock/device.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

/** The two ends of a channel such as QEMU's: bytes, and no notion of sessions. */
async function channelPair(path: string): Promise<[Socket, Socket]> {
  const server = createServer().listen(path);
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const near = createConnection(path);
  const [far] = await accepted;
  server.close();
  return [near, far];
}

/** The guest's agent, as far as the transport goes, until it is closed: port 7 echoes, port 9 tells how much it has read. */
function serveGuest(far: Socket): () => void {
  const port = new Duplex({ read: () => undefined, write: (chunk, _encoding, done) => void far.write(chunk, done) });
  const onData = (chunk: Buffer) => void port.push(chunk);
  far.on('data', onData);
  const session = http2.performServerHandshake(port);
  session.on('error', () => undefined);
  session.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    const port = headers[':authority'];
    if (port !== '7' && port !== '9') {
      stream.respond({ ':status': 502 }, { endStream: true });
      return;
    }
    stream.respond({ ':status': 200 }, { endStream: false });
    if (port === '7') {
      stream.pipe(stream);
    } else {
      let bytes = 0;
      stream.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      stream.on('end', () => stream.end(`read ${bytes}`));
    }
  });
  return () => {
    far.off('data', onData);
    port.destroy();
  };
}

async function exchange(path: string, ...pieces: (string | Buffer)[]): Promise<string> {
  const socket = createConnection({ path, allowHalfOpen: true });
  for (const piece of pieces) {
    socket.write(piece);
  }
  socket.end();
  return Buffer.concat(await socket.toArray()).toString();
}

describe('VsockDevice', () => {
  let scratch: ScratchDirectory;
  let device: VsockDevice;
  let udsPath: string;
  let sessions: number;
  let near: Socket;
  let far: Socket;

  beforeEach(async () => {
    scratch = await scratchDirectory();
    udsPath = scratch.file('v.sock');
    sessions = 0;
    device = await VsockDevice.create({ vsock_id: null, guest_cid: 3, uds_path: udsPath }, () => sessions++);
    [near, far] = await channelPair(scratch.file('channel'));
    await device.plug(near);
  });

  afterEach(async () => {
    device.setGuestOpen(false);
    near.destroy();
    far.destroy();
    device.remove();
    await scratch[Symbol.asyncDispose]();
  });

  it('joins a connection to a port of the guest, with what was written behind the handshake in one piece', async () => {
    serveGuest(far);
    device.setGuestOpen(true);
    expect(await exchange(udsPath, 'CONNECT 7\nhello')).toBe('OK 1073741824\nhello');
    expect(await exchange(udsPath, 'conn', 'ect 7 \n', 'a', 'b')).toBe('OK 1073741825\nab');
  });

  it('carries a half close, and megabytes with it', async () => {
    serveGuest(far);
    device.setGuestOpen(true);
    const data = Buffer.alloc(9 << 20);
    expect(await exchange(udsPath, 'CONNECT 9\n', data)).toMatch(new RegExp(`^OK \\d+\nread ${data.length}$`));
  });

  it('does not let a connection that is not read hold up another', async () => {
    serveGuest(far);
    device.setGuestOpen(true);
    const stuck = createConnection(udsPath);
    stuck.pause();
    stuck.write('CONNECT 7\n');
    stuck.write(Buffer.alloc(8 << 20));
    expect(await exchange(udsPath, 'CONNECT 7\nthrough')).toMatch(/through$/);
    stuck.destroy();
  });

  it.each([
    ['a port on which nothing listens', 'CONNECT 8\n'],
    ['no handshake', 'HELO 7\n'],
    ['a port beyond 32 bits', 'CONNECT 4294967296\n'],
    ['a line without an end', 'CONNECT '.padEnd(1 << 20, '1')],
    ['an end of file before the line', 'CONNECT 7'],
  ])('refuses %s by an end of file', async (_what, text) => {
    serveGuest(far);
    device.setGuestOpen(true);
    const answer = await exchange(udsPath, text).catch((error: NodeJS.ErrnoException) => error.code);
    expect(['', 'EPIPE', 'ECONNRESET']).toContain(answer);
  });

  it('does not speak before the guest has opened its port, and refuses dials until then', async () => {
    let heard = 0;
    far.on('data', (chunk: Buffer) => {
      heard += chunk.length;
    });
    expect(await exchange(udsPath, 'CONNECT 7\n')).toBe('');
    expect({ heard, sessions }).toEqual({ heard: 0, sessions: 0 });
  });

  it('serves again when the guest has closed and reopened its port', async () => {
    const close = serveGuest(far);
    device.setGuestOpen(true);
    expect(await exchange(udsPath, 'CONNECT 7\na')).toMatch(/a$/);
    close();
    device.setGuestOpen(false);
    expect(await exchange(udsPath, 'CONNECT 7\na')).toBe('');
    serveGuest(far);
    device.setGuestOpen(true);
    expect(await exchange(udsPath, 'CONNECT 7\nagain')).toMatch(/again$/);
    expect(sessions).toBe(2);
  });

  it('gives the path of its socket to its successor', async () => {
    device.remove();
    device = await VsockDevice.create({ vsock_id: null, guest_cid: 4, uds_path: udsPath }, () => undefined);
    expect(device.present()).toEqual({ guest_cid: 4, uds_path: udsPath });
  });

  it('refuses a path that is taken', async () => {
    const config = { vsock_id: null, guest_cid: 3, uds_path: udsPath };
    await expect(VsockDevice.create(config, () => undefined)).rejects.toThrow(
      'Vsock config error: Cannot create backend for vsock device: Error binding to the host-side Unix socket: Address already in use (os error 98)',
    );
  });
});
