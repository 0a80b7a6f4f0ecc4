import { createServer, type Server, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SocketClient } from '../../../ts/firecracker/socket-client.js';
import type { KeeperEvent } from '../../../ts/vmm/keeper-events.js';
import { KeeperLife } from '../../../ts/vmm/keeper-life.js';
import { until } from '../../support/leftovers.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const STANDING = { time: 't', event: 'state', state: 'running', changedAt: 't', startedAt: 't' } as const;
const EXIT = { exitCode: 0, signal: null, reason: 'exited', startedAt: 't', exitedAt: 't' } as const;

let scratch: ScratchDirectory;
let keeper: Server;
let client: SocketClient;
let life: KeeperLife;
let calls: string[];
let answer: (call: string, response: ServerResponse) => void;

beforeEach(async () => {
  scratch = await scratchDirectory();
  calls = [];
  keeper = createServer(async (request, response) => {
    const body = (await request.setEncoding('utf8').toArray()).join('');
    calls.push(`${request.method} ${request.url} ${body}`);
    answer(`${request.method} ${request.url}`, response);
  });
  await new Promise<void>((resolve) => keeper.listen(scratch.file('keeper.sock'), resolve));
  client = new SocketClient({ socketPath: scratch.file('keeper.sock') });
  life = new KeeperLife('vm-1', scratch.path, { client, reach: async () => undefined });
});

afterEach(async () => {
  life.close();
  await client.destroy();
  keeper.closeAllConnections();
  await new Promise((resolve) => keeper.close(resolve));
  await scratch[Symbol.asyncDispose]();
});

const line = (event: KeeperEvent) => `${JSON.stringify(event)}\n`;
const refuse = (response: ServerResponse) => response.writeHead(409).end('{"fault_message":"The VM is paused"}');

test('words arrive one after the other, and one that is refused hinders nobody', async () => {
  answer = (_call, response) => response.writeHead(calls.length === 1 ? 500 : 204).end();
  life.tell({ state: 'paused' });
  life.tell({ state: 'running' });
  await life.said;
  expect(calls).toEqual(['PUT /state {"state":"paused"}', 'PUT /state {"state":"running"}']);
});

test('an owner says the first word and the last by its pipe, but none ahead of one that is on its way', async () => {
  answer = (_call, response) => response.writeHead(204).end();
  const said: string[] = [];
  const say = (word: object) => void said.push(JSON.stringify(word));
  const own = new KeeperLife('vm-1', scratch.path, { client, reach: async () => undefined, say });
  own.tellFast({ state: 'running' });
  expect([said, own.isEnded]).toEqual([['{"state":"running"}'], false]);
  own.tell({ state: 'paused' });
  own.tellFast({ state: 'stopping' });
  expect(own.isEnded).toBe(true);
  await own.said;
  own.tellFast({ state: 'stopping' });
  expect(said).toEqual(['{"state":"running"}', '{"state":"stopping"}']);
  expect(calls).toEqual(['PUT /state {"state":"paused"}', 'PUT /state {"state":"stopping"}']);
});

test('a word without a pipe is a call', async () => {
  answer = (_call, response) => response.writeHead(204).end();
  life.tellFast({ state: 'stopping' });
  await life.said;
  expect(calls).toEqual(['PUT /state {"state":"stopping"}']);
});

test('a keeper that hangs holds up a word for a quarter of a second', async () => {
  answer = () => undefined;
  const begin = performance.now();
  life.tell({ state: 'stopping' });
  await life.said;
  expect(performance.now() - begin).toBeLessThan(3_000);
});

test('nothing is told once the client is gone', async () => {
  await client.destroy();
  life.tell({ state: 'running' });
  await life.said;
  expect(calls).toEqual([]);
});

test('events are heard in pieces, by who comes later too, and the last is the exit', async () => {
  const text = line(STANDING) + line({ ...STANDING, event: 'pause', state: 'paused' });
  let response: ServerResponse | undefined;
  answer = (_call, events) => {
    response = events;
    events.write(`not JSON\n${text.slice(0, 30)}`);
    setTimeout(() => events.write(text.slice(30)), 20);
  };
  const heard: string[] = [];
  life.listen(({ event, state }) => heard.push(`${event} ${state}`));
  await until(() => heard.length === 2, 5_000, 'two events');
  expect([calls, heard]).toEqual([['GET /events?from=now '], ['state running', 'pause paused']]);
  const late: string[] = [];
  life.listen(({ event, state }) => late.push(`${event} ${state}`));
  expect(late).toEqual(['state paused']);
  response?.end(line({ time: 't', event: 'exit', exit: EXIT }));
  expect(await life.exit()).toEqual(EXIT);
});

test.each<[string, (response: ServerResponse) => void]>([
  ['hangs up', (response) => response.write(line(STANDING), () => response.destroy())],
  ['knows no events', (response) => response.writeHead(404).end('{}')],
])('a keeper that %s has told no exit', async (_what, act) => {
  answer = (_call, response) => act(response);
  expect(await life.exit()).toBeUndefined();
});

test('a limit that comes too late is refused with the keeper’s words', async () => {
  answer = (_call, response) => refuse(response);
  const details = { id: 'vm-1' };
  await expect(life.limit({ timeoutMs: null })).rejects.toMatchObject({ code: 'INVALID_STATE', details });
  expect(calls).toEqual(['PUT /limits {"timeoutMs":null}']);
});

test('a command holds where there is an idle timeout, and lets go', async () => {
  let held = 0;
  let isPaused = false;
  answer = (call, response) => {
    if (call !== 'GET /hold') {
      response.writeHead(204).end();
    } else if (isPaused) {
      refuse(response);
    } else {
      held += 1;
      response.on('close', () => {
        held -= 1;
      });
      response.flushHeaders();
    }
  };
  (await life.useGuest())();
  expect(calls).toEqual([]);
  await life.begin({ state: 'running', idleTimeoutMs: 5 }, '/detached');
  const end = await life.useGuest();
  expect([calls, held]).toEqual([['PUT /detached {"state":"running","idleTimeoutMs":5}', 'GET /hold '], 1]);
  end();
  await until(() => held === 0, 5_000, 'the end of the hold');
  isPaused = true;
  await expect(life.useGuest()).rejects.toThrow('VM vm-1: The VM is paused');
});

test('a keeper that is gone refuses no command: the guest’s end says it', async () => {
  const gone = new KeeperLife(
    'vm-1',
    scratch.file('absent'),
    { client, reach: async () => undefined },
    {
      ...STANDING,
      idleTimeoutMs: 5,
    },
  );
  (await gone.useGuest())();
});
