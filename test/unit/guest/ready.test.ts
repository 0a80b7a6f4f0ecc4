import { getEventListeners, once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { SmartVMError } from '../../../ts/errors.js';
import { assertWait, type ReadySource, type Wait, waitUntilReady } from '../../../ts/guest/ready/ready.js';
import { agent, all, any, http, logLine, port } from '../../../ts/guest/ready/waits.js';
import type { Guest } from '../../../ts/guest/types.js';
import { until } from '../../support/leftovers.js';
import { closeServer } from '../../support/unix-server.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

/** A VM whose guest's ports are this host's, and whose console says these pieces and no more. */
class Machine {
  readonly open = new Set<Socket>();
  readonly said: readonly string[];
  consoles = 0;
  end!: (error: SmartVMError) => void;
  readonly source: ReadySource;

  constructor(...said: string[]) {
    this.said = said;
    const guest = { dial: this.#dial.bind(this), control: async () => ({}) } as Partial<Guest> as Guest;
    const ended = new Promise<SmartVMError>((resolve) => {
      this.end = resolve;
    });
    const late = async (what: string, details: Readonly<Record<string, unknown>>) =>
      new SmartVMError('READY_TIMEOUT', what, { details });
    this.source = { guest: async () => guest, console: this.#console.bind(this), ended, late };
  }

  async until(wait: Wait, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<void> {
    assertWait(wait, options);
    await waitUntilReady(wait, this.source, options);
  }

  /** The error of a wait that fails. */
  async fails(wait: Wait, timeoutMs = 1_000): Promise<SmartVMError> {
    return await this.until(wait, { timeoutMs }).then(
      () => expect.unreachable('it came to pass'),
      (error: unknown) => error as SmartVMError,
    );
  }

  async #dial(address: Parameters<Guest['dial']>[0]): Promise<Socket> {
    const socket = connect({ port: (address as { port: number }).port, allowHalfOpen: true });
    this.open.add(socket.once('close', () => this.open.delete(socket)));
    try {
      await once(socket, 'connect');
      return socket;
    } catch (cause) {
      throw new SmartVMError('PORT_UNREACHABLE', 'nobody', { cause });
    }
  }

  async *#console(signal: AbortSignal): AsyncGenerator<Buffer> {
    this.consoles++;
    for (const piece of this.said) {
      yield Buffer.from(piece);
    }
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    this.consoles--;
  }
}

const portOf = (server: Server) => (server.address() as AddressInfo).port;

async function listening(server: Server): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => undefined)));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return { port: portOf(server), [Symbol.asyncDispose]: async () => await closeServer(server, sockets) };
}

const web = async (answer: RequestListener) => await listening(createServer(answer));

describe('HTTP', () => {
  test('is asked until it answers as it should', async () => {
    const asked: (string | undefined)[] = [];
    await using server = await web((request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers.host} ${request.headers['x-key']}`);
      response.writeHead(asked.length < 3 ? 503 : 204).end();
    });
    const machine = new Machine();
    await machine.until(http({ port: server.port, path: '/a?b=c', headers: { 'X-Key': 'k' }, intervalMs: 0 }));
    expect(asked).toEqual(Array(3).fill(`GET /a?b=c localhost:${server.port} k`));
    await until(() => machine.open.size === 0, 2_000, 'the end of the connections');
  });

  test('takes a redirect for an answer, and follows none', async () => {
    const asked: (string | undefined)[] = [];
    await using server = await web((request, response) => {
      asked.push(request.url);
      response.writeHead(302, { Location: '/other' }).end();
    });
    const machine = new Machine();
    const { port } = server;
    await machine.until(http({ port }));
    await machine.until(http({ port, status: [200, 302] }));
    await machine.until(http({ port, status: (status) => status > 300 }));
    const error = await machine.fails(http({ port, status: 200 }));
    expect(error).toMatchObject({ code: 'READY_TIMEOUT', details: { timeoutMs: 1_000 } });
    expect(error.details.failed).toEqual([{ kind: 'http', wait: `HTTP GET localhost:${port}/`, saw: 'HTTP 302' }]);
    expect(error.message).toBe(`not ready in time: HTTP GET localhost:${port}/ within 1000 ms (last seen: HTTP 302)`);
    expect(new Set(asked)).toEqual(new Set(['/']));
  });

  test('looks at the beginning of a body that does not end, and at none that is not asked for', async () => {
    let sent = 0;
    await using server = await web((_request, response) => {
      response.write('{"status":"up"}\n');
      const more = () => {
        sent += 65_536;
        if (response.write(Buffer.alloc(65_536, 'x'))) {
          setImmediate(more);
        }
      };
      more();
      response.on('drain', more);
    });
    const machine = new Machine();
    const { port } = server;
    await machine.until(http({ port, body: '"up"' }));
    await machine.until(http({ port, body: /"status":"(up|ok)"/g }));
    await machine.until(http({ port }));
    const error = await machine.fails(http({ port, body: 'down' }));
    expect(error.message).toMatch(/HTTP 200 with another body, which ends "x+"\)$/);
    expect(error.message.length).toBeLessThan(2_000);
    await until(() => machine.open.size === 0, 2_000, 'the end of the connections');
    expect(sent).toBeGreaterThan(0);
  });

  test.each([
    ['hangs up', (socket: Socket) => socket.destroy(), /no answer of HTTP: /],
    ['speaks something else', (socket: Socket) => socket.end('SSH-2.0-x\r\n'), /no answer of HTTP: Parse Error/],
    ['has endless headers', (socket: Socket) => pourHeaders(socket), /no answer of HTTP: Parse Error: Header overflow/],
    ['says nothing', (_socket: Socket) => undefined, /no answer within 200 ms/],
  ])('of a server that %s is told what it is', async (what, onConnect, words) => {
    await using server = await listening(createTcpServer(onConnect));
    const machine = new Machine();
    const error = await machine.fails(
      http({ port: server.port, attemptTimeoutMs: what === 'says nothing' ? 200 : 5_000 }),
    );
    expect(error.details.failed).toEqual([expect.objectContaining({ saw: expect.stringMatching(words) })]);
    await until(() => machine.open.size === 0, 2_000, 'the end of the connections');
  });

  function pourHeaders(socket: Socket): void {
    socket.write('HTTP/1.1 200 OK\r\n');
    const more = () => {
      while (!socket.destroyed && socket.write(`X-A: ${'a'.repeat(1_000)}\r\n`));
    };
    socket.on('drain', more);
    more();
  }
});

describe('lines of the console', () => {
  test('are told apart, without what drives a terminal, since the start', async () => {
    const machine = new Machine('boot\r\nrea', 'dy to\x1b[32m accept\x1b[0m\r\n', 'again ready\n', 'rest');
    await machine.until(logLine(/^ready to accept$/));
    await machine.until(logLine('ready to accept'));
    await machine.until(logLine(/ready/gy, { times: 1 }));
    await machine.until(logLine(/ready/g, { times: 2 }));
    const error = await machine.fails(logLine('ready', { times: 3 }));
    expect(error.message).toBe(
      'not ready in time: console line "ready" within 1000 ms (last seen: 2 of 3, then the line "again ready")',
    );
    expect(machine.consoles).toBe(0);
  });

  test('are read once for all who wait for them', async () => {
    const machine = new Machine(...Array.from({ length: 40 }, (_, index) => `line ${index}\n`));
    const waits = Array.from({ length: 40 }, (_, index) => logLine(new RegExp(`^line ${index}$`)));
    const waiting = machine.until(all([...waits, logLine('never')]), { timeoutMs: 1_000 });
    await until(() => machine.consoles > 0, 2_000, 'the reading');
    expect(machine.consoles).toBe(1);
    await expect(waiting).rejects.toMatchObject({ details: { failed: [{ wait: 'console line "never"' }] } });
  });

  test('are cut where they do not end', async () => {
    const machine = new Machine('x'.repeat(3_000_000), 'needle\n', `${'y'.repeat(16 * 1024 - 6)}needle needle\n`);
    await machine.until(logLine(/^y+needle$/));
    const { message } = await machine.fails(logLine(/^x+needle/));
    expect(message.length).toBeLessThan(2_000);
  });
});

describe('several', () => {
  const never = port(1);
  const at = (server: { readonly port: number }) => port(server.port);

  test('are ready when all are, or any is', async () => {
    await using server = await web((_request, response) => void response.end());
    const machine = new Machine('up\n');
    await machine.until(all([agent(), at(server), logLine('up'), any([never, http({ port: server.port })])]));
    await machine.until(any([all([never, at(server)]), logLine('up')]));
    await until(() => machine.open.size === 0, 2_000, 'the end of the connections');
  });

  test('name the one that failed', async () => {
    await using server = await web((_request, response) => void response.writeHead(500).end());
    const machine = new Machine('some words\n');
    const bad = http({ port: server.port });
    const refused = expect.objectContaining({
      wait: 'port localhost:1',
      saw: expect.stringMatching(/^nobody listens: .*REFUSED/),
    });
    const served = expect.objectContaining({ kind: 'http', saw: 'HTTP 500' });
    const logged = expect.objectContaining({ saw: 'the line "some words"' });
    const failed = async (wait: Wait) => (await machine.fails(wait)).details.failed;
    expect(await failed(all([at(server), never, bad]))).toEqual([refused, served]);
    expect(await failed(any([logLine('none'), all([at(server), bad])]))).toEqual([logged, served]);
    // One whose own time is up is the reason, and not those that were given up for it.
    const short = port(1, { timeoutMs: 500 });
    const begin = performance.now();
    const error = await machine.fails(all([short, logLine('none')]), 60_000);
    expect(performance.now() - begin).toBeLessThan(30_000);
    expect(error.message).toMatch(
      /^not ready in time: port localhost:1 within 500 ms \(last seen: nobody listens: .*\)$/,
    );
    expect(await failed(any([short, logLine('none', { timeoutMs: 600 })]))).toHaveLength(2);
    expect(await failed(all([any([short, bad], { timeoutMs: 800 }), at(server)]))).toEqual([
      { ...((await failed(short)) as object[])[0] },
      served,
    ]);
  });
});

describe('a wait that is over', () => {
  test.each(['the end of the VM', 'its signal'])('by %s leaves nothing', async (what) => {
    await using server = await listening(createTcpServer(() => undefined));
    const machine = new Machine('words\n');
    const controller = new AbortController();
    const wait = all([http({ port: server.port }), port(1), logLine('none')]);
    const waiting = machine.until(wait, { timeoutMs: 60_000, signal: controller.signal });
    await until(() => machine.open.size > 0 && machine.consoles === 1, 2_000, 'the waiting');
    const reason = new SmartVMError('VMM_EXITED', 'it has gone');
    what === 'its signal' ? controller.abort(reason) : machine.end(reason);
    const expected = what === 'its signal' ? { code: 'CANCELED', cause: reason } : reason;
    await expect(waiting).rejects.toMatchObject(expected);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    await until(() => machine.open.size === 0 && machine.consoles === 0, 2_000, 'the end of it all');
  });

  test('by an error that no waiting would change is over at once', async () => {
    const machine = new Machine();
    const refusal = new SmartVMError('INVALID_STATE', 'it is paused');
    const source = { ...machine.source, guest: async () => Promise.reject(refusal) };
    await expect(waitUntilReady(any([port(1), logLine('none')]), source, {})).rejects.toBe(refusal);
    expect(machine.consoles).toBe(0);
  });

  test('goes on while the agent is away', async () => {
    const machine = new Machine();
    let asked = 0;
    const guest = async () => {
      asked++;
      if (asked < 3) {
        throw new SmartVMError('AGENT_UNREACHABLE', 'gone');
      }
      return await machine.source.guest();
    };
    await waitUntilReady(agent({ intervalMs: 1 }), { ...machine.source, guest }, {});
    expect(asked).toBe(3);
  });
});
