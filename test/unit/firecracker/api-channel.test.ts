import { describe, expect, test } from 'vitest';
import type { ApiCallMessage } from '../../../ts/firecracker/api-channel.js';
import { Listening } from '../../support/heard.js';
import { Secrets } from '../../support/secrets.js';
import { clientOf, httpServer } from '../../support/unix-server.js';

describe('smartvm:api:call', () => {
  test('tells of each call, its status and its duration, and of no body', async () => {
    const secrets = new Secrets();
    await using server = await httpServer((request, response) => {
      request.resume();
      if (request.url === '/refused') {
        response.writeHead(400).end(JSON.stringify({ fault_message: 'not so' }));
      } else {
        response.writeHead(200).end(JSON.stringify({ token: secrets.get('answer') }));
      }
    });
    await using client = clientOf(server);
    using listening = new Listening<ApiCallMessage>('smartvm:api:call');
    expect(await client.get('/mmds')).toEqual({ token: secrets.get('answer') });
    await client.put('/mmds', { token: secrets.make('body') });
    await expect(client.put('/refused', {})).rejects.toMatchObject({ code: 'API_REFUSED' });
    const { socketPath } = server;
    const durationMs = expect.any(Number);
    expect(listening.of('start')).toEqual([
      { method: 'GET', path: '/mmds', socketPath },
      { method: 'PUT', path: '/mmds', socketPath },
      { method: 'PUT', path: '/refused', socketPath },
    ]);
    expect(listening.of('asyncEnd')).toEqual([
      { method: 'GET', path: '/mmds', socketPath, status: 200, durationMs },
      { method: 'PUT', path: '/mmds', socketPath, status: 200, durationMs },
      { method: 'PUT', path: '/refused', socketPath, status: 400, durationMs, error: expect.any(Error) },
    ]);
    expect(listening.of('error')).toMatchObject([{ path: '/refused', error: { faultMessage: 'not so' } }]);
    expect(secrets.shownBy(listening.heard)).toEqual([]);
  });

  test('has no status where there was no answer', async () => {
    await using server = await httpServer((request) => request.socket.destroy());
    await using client = clientOf(server);
    using listening = new Listening<ApiCallMessage>('smartvm:api:call');
    await expect(client.get('/')).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
    const [end] = listening.of('asyncEnd');
    expect(end).toMatchObject({ path: '/', error: { code: 'API_UNREACHABLE' } });
    expect(end).not.toHaveProperty('status');
  });
});
