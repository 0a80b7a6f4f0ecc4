import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FirecrackerApi } from '../../../ts/firecracker/api.js';
import { SocketClient } from '../../../ts/firecracker/socket-client.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

/** Every `METHOD path operationId` of the API description; its layout is regular enough for lines to tell. */
function operations(): [operationId: string, method: string, path: string][] {
  const found: [string, string, string][] = [];
  let [path, method] = ['', ''];
  for (const line of readFileSync(new URL('../../../spec/firecracker.yaml', import.meta.url), 'utf8').split('\n')) {
    path = /^ {2}(\/\S*):$/.exec(line)?.[1] ?? path;
    method = /^ {4}(get|put|patch|delete|post):$/.exec(line)?.[1] ?? method;
    const operationId = /^ {6}operationId: (\w+)$/.exec(line)?.[1];
    if (operationId !== undefined) {
      found.push([operationId, method.toUpperCase(), path]);
    }
  }
  return found;
}

const OPERATIONS = operations();
const BODY = { drive_id: 'd1', iface_id: 'eth0', id: 'p1' };
const pathOf = (template: string) =>
  template.replace('{drive_id}', 'd1').replace('{iface_id}', 'eth0').replace('{id}', 'p1');

describe('FirecrackerApi', () => {
  let scratch: ScratchDirectory;
  let server: Server;
  let api: FirecrackerApi;
  const seen: { method: string | undefined; path: string | undefined; body: string }[] = [];

  beforeAll(async () => {
    scratch = await scratchDirectory();
    server = createServer(async (request: IncomingMessage, response) => {
      let body = '';
      for await (const chunk of request) {
        body += chunk;
      }
      seen.push({ method: request.method, path: request.url, body });
      response.statusCode = request.method === 'GET' ? 200 : 204;
      response.end(request.method === 'GET' ? '{"from":"a newer version"}' : undefined);
    });
    await new Promise<void>((resolve) => server.listen(scratch.file('api.sock'), resolve));
    api = new FirecrackerApi(new SocketClient({ socketPath: scratch.file('api.sock') }));
  });

  afterAll(async () => {
    await api.client.destroy();
    await new Promise((resolve) => server.close(resolve));
    await scratch[Symbol.asyncDispose]();
  });

  test('the API description has operations', () => {
    expect(OPERATIONS).toContainEqual(['describeInstance', 'GET', '/']);
    expect(OPERATIONS.length).toBe(
      readFileSync(new URL('../../../spec/firecracker.yaml', import.meta.url), 'utf8').split('operationId:').length - 1,
    );
  });

  test.each(OPERATIONS)('%s is %s %s', async (operationId, method, path) => {
    seen.length = 0;
    const verb = (api as unknown as Record<string, (body?: object) => Promise<unknown>>)[operationId];
    expect(verb).toBeTypeOf('function');
    const answer = await (method === 'GET' ? verb?.call(api) : verb?.call(api, BODY));
    expect(answer).toEqual(method === 'GET' ? { from: 'a newer version' } : undefined);
    const sent = seen[0]?.body === '' ? undefined : JSON.parse(seen[0]?.body ?? '');
    expect(seen).toMatchObject([{ method, path: pathOf(path) }]);
    expect(sent).toEqual(method === 'GET' ? undefined : operationId === 'stopBalloonHinting' ? {} : BODY);
  });

  test('has nothing beyond the description but the hot-unplugging', () => {
    const described = new Set(OPERATIONS.map(([operationId]) => operationId));
    const verbs = Object.getOwnPropertyNames(FirecrackerApi.prototype).filter((name) => name !== 'constructor');
    expect(verbs.filter((name) => !described.has(name))).toEqual([
      'deleteGuestDriveByID',
      'deleteGuestPmemByID',
      'deleteGuestNetworkInterfaceByID',
    ]);
  });

  test('an id cannot lead to another resource', async () => {
    seen.length = 0;
    await api.deleteGuestDriveByID('../vm/config?x#');
    expect(seen).toMatchObject([{ method: 'DELETE', path: '/drives/..%2Fvm%2Fconfig%3Fx%23' }]);
  });
});
