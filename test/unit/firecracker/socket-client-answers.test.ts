import { getEventListeners } from 'node:events';
import type { Socket } from 'node:net';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../ts/firecracker/api-error.js';
import { until } from '../../support/leftovers.js';
import { scratchDirectory } from '../../support/scratch.js';
import { clientOf, httpAnswer, httpServer, rawServer } from '../../support/unix-server.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

describe('answers', () => {
  /** A client of a server that gives one answer to everything. */
  async function answering(text: string) {
    const server = await rawServer((socket) => socket.write(text));
    const client = clientOf(server);
    const [disposeClient, disposeServer] = [client[Symbol.asyncDispose], server[Symbol.asyncDispose]];
    return {
      client,
      async [Symbol.asyncDispose]() {
        await disposeClient();
        await disposeServer();
      },
    };
  }

  test('200 with JSON, and 204', async () => {
    await using whole = await answering(httpAnswer(200, '{"state":"Running"}'));
    expect(await whole.client.get('/')).toEqual({ state: 'Running' });
    await using none = await answering('HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n');
    expect(await none.client.request('PUT', '/x', {})).toBeUndefined();
    expect(await none.client.request('PUT', '/x', {})).toBeUndefined();
  });

  test("400 is API_REFUSED with Firecracker's fault_message, the status and the call", async () => {
    await using bench = await answering(httpAnswer(400, '{"fault_message":"No such drive"}'));
    const error = await bench.client.put('/drives/x', {}).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ApiError);
    const call = { method: 'PUT', path: '/drives/x', socketPath: bench.client.socketPath };
    expect(error).toMatchObject({ code: 'API_REFUSED', status: 400, faultMessage: 'No such drive', ...call });
    expect((error as ApiError).details).toEqual({ ...call, status: 400, faultMessage: 'No such drive' });
    expect((error as Error).message).toContain('No such drive');
  });

  test.each([
    [
      'its HTTP library’s, with a raw line break',
      '{ "error": "Request payload\nis too long.\nSorry" }',
      'Request payload\nis too long.\nSorry',
    ],
    ['a text that is not JSON', 'no way', 'no way'],
    ['JSON of another shape', '{"reason":"x"}', '{"reason":"x"}'],
    ['JSON that is no object', '"no way"', '"no way"'],
    ['a message that is no string', '{"fault_message":7}', '{"fault_message":7}'],
    ['null', 'null', 'null'],
    ['no body', '', undefined],
  ])('the message of a refusal: %s', async (_what, body, faultMessage) => {
    await using bench = await answering(httpAnswer(400, body));
    const error = await bench.client.put('/x', {}).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'API_REFUSED', status: 400 });
    expect((error as ApiError).faultMessage).toBe(faultMessage);
  });

  test('503 is API_BUSY', async () => {
    await using bench = await answering(httpAnswer(503, '{ "error": "Too many open connections" }'));
    await expect(bench.client.get('/')).rejects.toMatchObject({
      code: 'API_BUSY',
      status: 503,
      faultMessage: 'Too many open connections',
    });
  });

  test.each([
    ['garbage', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['garbage behind the status', 'HTTP/1.1 200 OK\r\n\u0000\u0001: x\r\n\r\n'],
    ['a length that is no number', 'HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}'],
    ['a head without end', `HTTP/1.1 200 OK\r\nX-More: ${'x'.repeat(100_000)}`],
    ['HTML', httpAnswer(200, '<html>')],
    ['half JSON', httpAnswer(200, '{"state":')],
  ])('%s is API_BAD_ANSWER', async (_what, text) => {
    await using bench = await answering(text);
    await expect(bench.client.get('/')).rejects.toMatchObject({ code: 'API_BAD_ANSWER' });
  });

  test('what the metadata service holds is not quoted, be it JSON or not', async () => {
    await using bench = await answering(httpAnswer(200, '{"token":"secret'));
    const error = await bench.client.get('/mmds').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'API_BAD_ANSWER', status: 200 });
    expect(inspect(error, { depth: null, showHidden: true })).not.toContain('secret');
  });

  test('an endless body is API_BAD_ANSWER, and the connection is cut', async () => {
    await using server = await httpServer((_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(256 * 1024, ' '))) {}
      };
      response.on('drain', more);
      more();
    });
    await using client = clientOf(server);
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_BAD_ANSWER' });
    await until(() => server.ended > 0, 2_000, 'the end of the connection');
  });

  test('the client goes on after each of them', async () => {
    let next = 'garbage\r\n\r\n';
    await using server = await rawServer((socket) => socket.write(next));
    await using client = clientOf(server);
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_BAD_ANSWER' });
    next = httpAnswer(400, '{ "error": "too\nlong" }');
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_REFUSED' });
    next = httpAnswer(200, '{}');
    expect(await client.get('/')).toEqual({});
  });
});

describe('a server that hangs up: API_UNREACHABLE', () => {
  const ENDS: [string, (socket: Socket) => void][] = [
    ['at once', (socket) => socket.destroy()],
    ['in the middle of the head', (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-')],
    ['in the middle of the body', (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{')],
    ['in the middle of a refusal', (socket) => socket.end('HTTP/1.1 400 Bad\r\nContent-Length: 99\r\n\r\n{')],
  ];

  test.each(ENDS)('%s', async (_when, end) => {
    await using server = await rawServer(end);
    await using client = clientOf(server);
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
  });

  test('or is not there', async () => {
    await using scratch = await scratchDirectory();
    await using client = clientOf({ socketPath: scratch.file('absent.sock') });
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_UNREACHABLE', cause: { code: 'ENOENT' } });
  });

  test('or comes only later: the client finds it then', async () => {
    await using server = await httpServer((_request, response) => response.end('{}'));
    const { socketPath } = server;
    await server[Symbol.asyncDispose]();
    await using client = clientOf({ socketPath });
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
  });
});

describe('stream()', () => {
  test('gives bytes as they come, past any deadline, to the end', async () => {
    let write = (_text: string) => undefined as unknown;
    let end = () => undefined as unknown;
    await using server = await httpServer((_request, response) => {
      response.write('first');
      write = (text) => response.write(text);
      end = () => response.end();
    });
    await using client = clientOf(server, 1);
    const pieces: string[] = [];
    for await (const chunk of client.stream('/console')) {
      pieces.push(chunk.toString());
      pieces.length === 1 ? write('second') : end();
    }
    expect(pieces).toEqual(['first', 'second']);
  });

  test('that nobody reads on is cut', async () => {
    await using server = await httpServer((_request, response) => response.write('first'));
    await using client = clientOf(server);
    for await (const _chunk of client.stream('/console')) {
      break;
    }
    await until(() => server.ended > 0, 2_000, 'the end of the connection');
  });

  test('ends by its signal, CANCELED whatever its reason, and leaves no listener', async () => {
    await using server = await httpServer((_request, response) => response.write('first'));
    await using client = clientOf(server);
    const controller = new AbortController();
    const read = async () => {
      for await (const _chunk of client.stream('/console', controller.signal)) {
        controller.abort(new DOMException('late', 'TimeoutError'));
      }
    };
    await expect(read()).rejects.toMatchObject({ code: 'CANCELED' });
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('of a refusal is API_REFUSED, of one that breaks off API_UNREACHABLE', async () => {
    let text = httpAnswer(404, '{"fault_message":"no console"}');
    await using server = await rawServer((socket) => socket.end(text));
    await using client = clientOf(server);
    await expect(client.stream('/console').next()).rejects.toMatchObject({
      code: 'API_REFUSED',
      faultMessage: 'no console',
    });
    text = 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf';
    const broken = client.stream('/console');
    const read = async () => {
      for await (const _chunk of broken) {
      }
    };
    await expect(read()).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
  });
});
