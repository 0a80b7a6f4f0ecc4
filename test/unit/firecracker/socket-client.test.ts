import { getEventListeners } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { ApiError } from '../../../ts/firecracker/api-error.js';
import { SocketClient } from '../../../ts/firecracker/socket-client.js';
import { until } from '../../support/leftovers.js';
import {
  clientOf,
  httpAnswer,
  httpServer,
  rawServer,
  readRequest,
  type WireRequest,
} from '../../support/unix-server.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

describe('what goes over the wire', () => {
  test('bodies have a Content-Length and are never chunked; calls without one have neither', async () => {
    const requests: WireRequest[] = [];
    await using server = await httpServer(async (request, response) => {
      requests.push(await readRequest(request));
      response.writeHead(204).end();
    });
    await using client = clientOf(server);
    await client.put('/drives/rootfs', { drive_id: 'rööt' });
    await client.patch('/vm', { state: 'Paused' });
    await client.put('/console', Buffer.from([0x70, 0xff]));
    await client.put('/empty', Buffer.alloc(0));
    await client.put('/large', { text: 'x'.repeat(1_000_000) });
    await client.get('/');
    await client.delete('/gone');
    const [put, patch, bytes, empty, large, get, remove] = requests;
    expect(put).toMatchObject({ method: 'PUT', url: '/drives/rootfs', body: '{"drive_id":"rööt"}' });
    expect(put?.headers).toMatchObject({ 'content-length': '21', 'content-type': 'application/json' });
    expect(patch).toMatchObject({ method: 'PATCH', url: '/vm', body: '{"state":"Paused"}' });
    expect(bytes?.headers).toMatchObject({ 'content-length': '2', 'content-type': 'application/octet-stream' });
    expect(empty?.headers).toMatchObject({ 'content-length': '0' });
    expect(large?.headers['content-length']).toBe(`${large?.body.length}`);
    expect([get, remove]).toMatchObject([
      { method: 'GET', body: '' },
      { method: 'DELETE', body: '' },
    ]);
    expect([get, remove].map((each) => each?.headers['content-length'])).toEqual([undefined, undefined]);
    expect(requests.map(({ headers }) => headers['transfer-encoding'])).toEqual(Array(7).fill(undefined));
  });

  test('nothing follows a body over the limit of Firecracker on its connection', async () => {
    // As Firecracker: it refuses by the head, and takes what it then has not read of the body for the next request.
    const refused = new Set<Socket>();
    await using server = await rawServer((socket, head) => {
      if (head.startsWith('PUT ')) {
        refused.add(socket);
        socket.write(httpAnswer(400, '{ "error": "too\nlong" }'));
      } else if (head.startsWith('GET ')) {
        socket.write(refused.has(socket) ? httpAnswer(400, '{ "error": "Invalid header" }') : httpAnswer(200, '{}'));
      }
    });
    await using client = clientOf(server);
    await expect(client.put('/mmds', { text: 'x'.repeat(51_200) })).rejects.toMatchObject({ code: 'API_REFUSED' });
    const calls = Array.from({ length: 10 }, () => client.get('/'));
    expect(await Promise.all(calls)).toEqual(Array(10).fill({}));
  });

  test('100 calls at once use at most 10 connections, and reuse them', async () => {
    await using server = await httpServer(async (request, response) => {
      const { url } = await readRequest(request);
      setImmediate(() => response.end(JSON.stringify({ url })));
    });
    await using client = clientOf(server);
    const paths = Array.from({ length: 100 }, (_, n) => `/call/${n}`);
    const answers = await Promise.all(paths.map((path) => client.get<{ url: string }>(path)));
    expect(answers.map(({ url }) => url)).toEqual(paths);
    expect(server.mostSockets).toBeGreaterThan(0);
    expect(server.mostSockets).toBeLessThanOrEqual(10);
  });
});

describe('the deadline: API_TIMEOUT', () => {
  const HANGS: [string, (socket: Socket) => void][] = [
    ['no word', () => undefined],
    ['half a head', (socket) => void socket.write('HTTP/1.1 200 OK\r\nConte')],
    ['half a body', (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{')],
    ['half a refusal', (socket) => void socket.write('HTTP/1.1 400 Bad\r\nContent-Length: 99\r\n\r\n{')],
  ];

  test.each(HANGS)('after %s; the connection is cut', async (_what, hang) => {
    await using server = await rawServer(hang);
    await using client = clientOf(server, 10_000);
    await expect(client.get('/', { timeoutMs: 60 })).rejects.toMatchObject({
      code: 'API_TIMEOUT',
      message: expect.stringContaining('60 ms'),
    });
    await until(() => server.ended > 0, 2_000, 'the end of the connection');
  });

  test("is the client's where the call has none, and covers the wait for a connection", async () => {
    await using server = await rawServer(() => undefined);
    await using client = clientOf(server, 60);
    const calls = Array.from({ length: 30 }, () => client.get('/').catch(({ code }: ApiError) => code));
    expect(await Promise.all(calls)).toEqual(Array(30).fill('API_TIMEOUT'));
  });

  test('of 0 is none', async () => {
    let reply = () => undefined as unknown;
    await using server = await rawServer((socket) => {
      reply = () => socket.write(httpAnswer(200, '{"late":true}'));
    });
    await using client = clientOf(server, 20);
    const call = client.get('/', { timeoutMs: 0 });
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_TIMEOUT' });
    reply();
    await expect(Promise.race([call, client.get('/').catch(() => undefined)])).resolves.toBeUndefined();
    await client.destroy();
    await expect(call).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
  });
});

describe('the signal: CANCELED', () => {
  test.each([
    ['without a reason', undefined],
    ['with one of its own', new Error('enough')],
    ['with the reason of a timeout, which is the caller’s', new DOMException('late', 'TimeoutError')],
  ])('%s', async (_what, reason) => {
    await using server = await rawServer(() => undefined);
    await using client = clientOf(server);
    const controller = new AbortController();
    const call = client.get('/', { signal: controller.signal });
    await until(() => server.sockets.size === 1, 2_000, 'the call');
    controller.abort(reason);
    await expect(call).rejects.toMatchObject({ code: 'CANCELED' });
    await until(() => server.ended > 0, 2_000, 'the end of the connection');
  });

  test('that had aborted makes no call', async () => {
    let calls = 0;
    await using server = await rawServer(() => calls++);
    await using client = clientOf(server);
    await expect(client.get('/', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELED' });
    expect(calls).toBe(0);
  });

  test('of 100 calls has no listener left', async () => {
    await using server = await httpServer((_request, response) => response.end('{}'));
    await using client = clientOf(server);
    const { signal } = new AbortController();
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 10 }, () => client.get('/', { signal })));
    }
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('close() and destroy()', () => {
  test('close() waits for what is under way; later calls are API_UNREACHABLE', async () => {
    let reply = () => undefined as unknown;
    await using server = await rawServer((socket) => {
      reply = () => socket.write(httpAnswer(200, '{"done":true}'));
    });
    await using client = clientOf(server);
    const call = client.get('/');
    await until(() => server.sockets.size === 1, 2_000, 'the call');
    let closed = false;
    const closing = Promise.all([client.close(), client.close()]).then(() => {
      closed = true;
    });
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
    expect(closed).toBe(false);
    reply();
    expect(await call).toEqual({ done: true });
    await closing;
    await until(() => server.ended > 0, 2_000, 'the end of the connection');
  });

  test('destroy() cuts what is under way, and a close() that waits for it', async () => {
    await using server = await rawServer(() => undefined);
    const client = new SocketClient({ socketPath: server.socketPath });
    const call = client.get('/').catch(({ code }: ApiError) => code);
    await until(() => server.sockets.size === 1, 2_000, 'the call');
    const closing = client.close();
    await Promise.all([client.destroy(), client.destroy()]);
    await closing;
    expect(await call).toBe('API_UNREACHABLE');
    await client.close();
    await client.destroy();
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
  });

  test('of a client that made no call do nothing', async () => {
    const client = new SocketClient({ socketPath: '/nonexistent' });
    await client.close();
    await client.destroy();
  });
});

test('a path over 107 bytes is refused before use', () => {
  const socketPath = '/tmp/'.padEnd(108, 'x');
  expect(() => new SocketClient({ socketPath })).toThrow(expect.objectContaining({ code: 'SOCKET_PATH_TOO_LONG' }));
});
