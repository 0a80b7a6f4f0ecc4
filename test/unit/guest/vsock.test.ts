import { getEventListeners, once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { connectVsock } from '../../../ts/guest/vsock.js';
import { until } from '../../support/leftovers.js';
import { scratchDirectory } from '../../support/scratch.js';
import { closeServer } from '../../support/unix-server.js';

interface VsockServer extends AsyncDisposable {
  readonly udsPath: string;
  readonly sockets: ReadonlySet<Socket>;
}

/** A server on a Unix socket that does with each connection, once it has read the line of the handshake, what the test says. */
async function vsockServer(onConnect: (socket: Socket, line: string) => void): Promise<VsockServer> {
  const scratch = await scratchDirectory();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    socket.once('data', (line: Buffer) => onConnect(socket, line.toString()));
  }).listen(scratch.file('vsock.sock'));
  await once(server, 'listening');
  return {
    udsPath: scratch.file('vsock.sock'),
    sockets,
    async [Symbol.asyncDispose]() {
      await closeServer(server, sockets);
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/** Writes pieces so that the other side reads them apart, as far as a socket can. */
async function writeApart(socket: Socket, pieces: readonly Uint8Array[]): Promise<void> {
  for (const piece of pieces) {
    await new Promise((resolve) => socket.write(piece, resolve));
    await new Promise(setImmediate);
  }
}

describe('connectVsock', () => {
  test('asks for the port, and the rest is a stream in both directions', async () => {
    const lines: string[] = [];
    await using server = await vsockServer((socket, line) => {
      lines.push(line);
      socket.write('OK 1073741824\n');
      socket.pipe(socket);
    });
    const socket = await connectVsock(server.udsPath, 10022);
    socket.end('echo');
    expect((await buffer(socket)).toString()).toBe('echo');
    expect(lines).toEqual(['CONNECT 10022\n']);
  });

  test('what comes in one read with the answer is delivered', async () => {
    await using server = await vsockServer((socket) => socket.end('OK 1\nHELLO'));
    const socket = await connectVsock(server.udsPath, 1);
    expect((await buffer(socket)).toString()).toBe('HELLO');
    socket.destroy();
  });

  test('what comes is delivered also to who begins to read later', async () => {
    await using server = await vsockServer((socket) => socket.end('OK 1\nHELLO'));
    const socket = await connectVsock(server.udsPath, 1);
    await until(() => socket.readableLength === 5, 2_000, 'the bytes');
    expect((await buffer(socket)).toString()).toBe('HELLO');
    socket.destroy();
  });

  test('an answer a byte at a time', async () => {
    await using server = await vsockServer(async (socket) => {
      await writeApart(
        socket,
        Array.from(Buffer.from('OK 4294967295\nHELLO'), (byte) => Buffer.of(byte)),
      );
      socket.end();
    });
    const socket = await connectVsock(server.udsPath, 1);
    expect((await buffer(socket)).toString()).toBe('HELLO');
    socket.destroy();
  });

  test('the stream behind the answer is byte-exact, however the server splits its writes', async () => {
    let pieces: readonly Uint8Array[] = [];
    await using server = await vsockServer(async (socket) => {
      await writeApart(socket, pieces);
      socket.end();
    });
    const cuts = fc.array(fc.nat(), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 4_000 }),
        fc.nat({ max: 2 ** 32 - 1 }),
        cuts,
        async (data, port, at) => {
          const whole = Buffer.concat([Buffer.from(`OK ${port}\n`), data]);
          const ends = [...at.map((cut) => cut % (whole.length + 1)), whole.length].toSorted((a, b) => a - b);
          pieces = ends.map((end, index) => whole.subarray(ends[index - 1] ?? 0, end));
          const socket = await connectVsock(server.udsPath, 1);
          expect(await buffer(socket)).toEqual(Buffer.from(data));
          socket.destroy();
        },
      ),
      { numRuns: 200 },
    );
  });

  test('an end in one direction is not the end of the other', async () => {
    await using server = await vsockServer((socket) => {
      socket.end('OK 1\nbye');
      socket.on('data', (chunk: Buffer) => received.push(chunk));
    });
    const received: Buffer[] = [];
    const socket = await connectVsock(server.udsPath, 1);
    await once(socket.resume(), 'end');
    socket.end('still here');
    await until(() => server.sockets.size === 0, 2_000, 'the end of the connection');
    expect(Buffer.concat(received).toString()).toBe('still here');
  });
});

describe('a handshake that fails is AGENT_UNREACHABLE, and closes the connection', () => {
  const ANSWERS: [string, (socket: Socket) => void, string][] = [
    ['an end, which is a refusal', (socket) => socket.end(), 'nobody listens'],
    ['an end in mid-answer', (socket) => socket.end('OK 10'), 'nobody listens'],
    ['a cut', (socket) => socket.destroy(), ''],
    ['1 MB without a line break', (socket) => socket.write('OK '.padEnd(1_000_000, '1')), 'does not end'],
    ['a long line', (socket) => socket.write(`OK ${'1'.repeat(40)}\n`), 'does not end'],
    ['another word', (socket) => socket.write('NO 1\n'), 'NO 1'],
    ['no number', (socket) => socket.write('OK\n'), 'not a vsock handshake'],
    ['something behind the number', (socket) => socket.write('OK 1 \n'), 'not a vsock handshake'],
    ['a carriage return', (socket) => socket.write('OK 1\r\n'), 'not a vsock handshake'],
    ['what drives a terminal, which is spelt out', (socket) => socket.write('\u001b[2J\n'), '\\u001b'],
  ];

  test.each(ANSWERS)('%s', async (_what, answer, message) => {
    await using server = await vsockServer(answer);
    await expect(connectVsock(server.udsPath, 10022)).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
      message: expect.stringContaining(message),
    });
    await until(() => server.sockets.size === 0, 2_000, 'the end of the connection');
  });

  test.each([
    ['no word', () => undefined],
    ['an answer without its line break', (socket: Socket) => void socket.write('OK 1')],
  ])('%s meets the deadline', async (_what, answer) => {
    await using server = await vsockServer(answer);
    await expect(connectVsock(server.udsPath, 10022, { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
      message: expect.stringContaining('within 50 ms'),
    });
    await until(() => server.sockets.size === 0, 2_000, 'the end of the connection');
  });

  test('no socket there, and one that nobody listens on', async () => {
    await using scratch = await scratchDirectory();
    await expect(connectVsock(scratch.file('absent.sock'), 1)).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
      cause: { code: 'ENOENT' },
    });
    const socket = await vsockServer(() => undefined).then(async (server) => {
      await server[Symbol.asyncDispose]();
      return server.udsPath;
    });
    await expect(connectVsock(socket, 1)).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
  });

  test('a path over 107 bytes never reaches the socket of its first 107', async () => {
    const path = '/tmp/'.padEnd(107, 'x');
    await expect(connectVsock(`${path}y`, 1)).rejects.toMatchObject({ code: 'SOCKET_PATH_TOO_LONG' });
  });
});

describe('the signal', () => {
  test.each([
    ['an AbortController’s', undefined],
    ['one with null as its reason', null],
    ['one with a string as its reason', 'enough'],
  ])('%s ends the handshake with CANCELED', async (_what, reason) => {
    await using server = await vsockServer(() => undefined);
    const controller = new AbortController();
    const dial = connectVsock(server.udsPath, 1, { signal: controller.signal });
    await until(() => server.sockets.size === 1, 2_000, 'the connection');
    controller.abort(reason);
    await expect(dial).rejects.toMatchObject({ code: 'CANCELED' });
    await until(() => server.sockets.size === 0, 2_000, 'the end of the connection');
  });

  test('that had aborted before: CANCELED', async () => {
    await using server = await vsockServer((socket) => socket.write('OK 1\n'));
    const dial = connectVsock(server.udsPath, 1, { signal: AbortSignal.abort() });
    await expect(dial).rejects.toMatchObject({ code: 'CANCELED' });
  });

  test('has no say once the stream is open, and no listener is left in it', async () => {
    await using server = await vsockServer((socket) => {
      socket.write('OK 1\n');
      socket.pipe(socket);
    });
    const controller = new AbortController();
    const socket = await connectVsock(server.udsPath, 1, { signal: controller.signal, timeoutMs: 500 });
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    controller.abort();
    socket.end('echo');
    expect((await buffer(socket)).toString()).toBe('echo');
  });

  test('of 100 dials has no listener left', async () => {
    await using server = await vsockServer((socket) => socket.end());
    const { signal } = new AbortController();
    for (let round = 0; round < 100; round++) {
      await connectVsock(server.udsPath, 1, { signal }).catch(() => undefined);
    }
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});
