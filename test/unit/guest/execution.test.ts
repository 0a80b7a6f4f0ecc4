import { PassThrough, Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test, vi } from 'vitest';
import { ExecError } from '../../../ts/guest/exec-error.js';
import type { ExecEvent } from '../../../ts/guest/exec-types.js';
import { agentServer, connect, type ExecRequest, finish, pour } from '../../support/agent-server.js';
import { until } from '../../support/leftovers.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

/** Answers with what it was given. */
function cat({ channel }: ExecRequest): void {
  channel.on('data', (chunk: Buffer) => channel.write(chunk)).on('end', () => finish({ channel }, 0));
}

/** Says something, and goes on until its channel is closed. */
function endless(closed: () => void): (request: ExecRequest) => void {
  return ({ channel }) => {
    channel.on('close', closed).resume();
    channel.write('up');
  };
}

describe('iterated', () => {
  test('it tells what happens, in order, and the exit at last', async () => {
    await using server = await agentServer(({ channel }) => {
      channel.write('a');
      channel.stderr.write('b');
      channel.write('c');
      finish({ channel }, 7);
    });
    using connection = await connect(server);
    const events: ExecEvent[] = [];
    for await (const event of connection.exec(['job'])) {
      events.push(event);
    }
    expect(events.at(-1)).toEqual({ kind: 'exit', exitCode: 7, signal: null });
    const said = (kind: string) =>
      events.flatMap((event) => (event.kind !== 'exit' && event.kind === kind ? event.data : [])).join('');
    expect([said('stdout'), said('stderr')]).toEqual(['ac', 'b']);
  });

  test('it gives whole characters, or the bytes themselves', async () => {
    const bytes = Buffer.from('é€😀\xff', 'utf8');
    await using server = await agentServer(({ channel }) => {
      for (const byte of bytes) {
        channel.write(Buffer.of(byte));
      }
      finish({ channel }, 0);
    });
    using connection = await connect(server);
    let read = '';
    for await (const event of connection.exec(['job'])) {
      read += event.kind === 'stdout' ? event.data : '';
    }
    expect(read).toBe(bytes.toString());
    const raw: Buffer[] = [];
    for await (const event of connection.exec(['job'], { encoding: 'buffer' })) {
      event.kind === 'stdout' && raw.push(event.data);
    }
    expect(Buffer.concat(raw)).toEqual(bytes);
  });

  test('a slow loop holds the command up, and loses nothing', async () => {
    const total = 12 * 1024 * 1024;
    let written = 0;
    await using server = await agentServer(async ({ channel }) => {
      for await (const length of pour(channel, total)) {
        written += length;
      }
      finish({ channel }, 0);
    });
    using connection = await connect(server);
    let read = 0;
    for await (const event of connection.exec(['job'], { encoding: 'buffer' })) {
      await new Promise(setImmediate);
      read += event.kind === 'stdout' ? event.data.length : 0;
      expect(written - read).toBeLessThan(8 * 1024 * 1024);
    }
    expect(read).toBe(total);
  });

  test('leaving the loop ends the command', async () => {
    const closed = vi.fn();
    await using server = await agentServer(endless(closed));
    using connection = await connect(server);
    for await (const event of connection.exec(['job'])) {
      expect(event).toEqual({ kind: 'stdout', data: 'up' });
      break;
    }
    await until(() => closed.mock.calls.length === 1, 2_000, 'the end of the channel');
  });

  test('it fails as awaiting it does', async () => {
    await using server = await agentServer(endless(() => undefined));
    using connection = await connect(server);
    const read = async () => {
      for await (const { kind } of connection.exec(['job'], { timeoutMs: 100 })) {
        expect(kind).toBe('stdout');
      }
    };
    await expect(read()).rejects.toMatchObject({ code: 'EXEC_TIMEOUT' });
  });
});

describe('taken as streams', () => {
  test('what is taken is not collected, and it can be awaited too', async () => {
    await using server = await agentServer((request) => finish(request, 3, 'out', 'err'));
    using connection = await connect(server);
    const run = connection.exec(['job']);
    const [stdout, result] = await Promise.all([text(run.stdout), run]);
    expect(stdout).toBe('out');
    expect(result).toMatchObject({ exitCode: 3, stdout: '', stderr: 'err' });
    expect(() => run.stderr).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
    expect(() => run[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
  });

  test('a pipeline fails with the command', async () => {
    await using server = await agentServer(endless(() => undefined));
    using connection = await connect(server);
    const run = connection.exec(['job'], { timeoutMs: 100 });
    const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
    await expect(pipeline(run.stdout, sink)).rejects.toMatchObject({ code: 'EXEC_TIMEOUT' });
    await expect(run).rejects.toMatchObject({ code: 'EXEC_TIMEOUT' });
  });

  test('a stream that is destroyed does not hold the command up', async () => {
    await using server = await agentServer((request) => finish(request, 0, 'x'.repeat(1_000_000)));
    using connection = await connect(server);
    const run = connection.exec(['job']);
    run.stdout.once('data', () => run.stdout.destroy());
    expect(await run).toMatchObject({ exitCode: 0 });
  });
});

describe('standard input', () => {
  test.each<[string, () => Readable | AsyncIterable<string | Uint8Array>]>([
    ['a stream', () => Readable.from([Buffer.from('some '), Buffer.from('words')])],
    ['an iterable', () => Readable.from(['some ', 'words'])],
    ['a web stream', () => new Blob(['some words']).stream() as unknown as AsyncIterable<Uint8Array>],
  ])('%s', async (_what, input) => {
    await using server = await agentServer(cat);
    using connection = await connect(server);
    expect((await connection.exec(['cat'], { stdin: input() })).stdout).toBe('some words');
  });

  test('one that breaks off ends the command: EXEC_FAILED', async () => {
    const closed = vi.fn();
    await using server = await agentServer(endless(closed));
    using connection = await connect(server);
    const input = new PassThrough();
    const result = connection.exec(['job'], { stdin: input });
    result.catch(() => undefined);
    await until(() => server.asked() === 1, 2_000, 'the command');
    input.destroy(new Error('the disk is gone'));
    await expect(result).rejects.toMatchObject({
      code: 'EXEC_FAILED',
      message: expect.stringContaining('the disk is gone'),
    });
    await until(() => closed.mock.calls.length === 1, 2_000, 'the end of the channel');
  });

  test('one that never ends does not outlast the command, and is left as it was', async () => {
    await using server = await agentServer((request) => finish(request, 0, 'done'));
    using connection = await connect(server);
    const input = new PassThrough();
    expect((await connection.exec(['true'], { stdin: input })).stdout).toBe('done');
    expect(input.destroyed).toBe(false);
    const listeners = ['data', 'error', 'close', 'end', 'readable'].map((name) => input.listenerCount(name));
    expect(listeners).toEqual([
      ...['data', 'error', 'close', 'end', 'readable'].map((name) => new PassThrough().listenerCount(name)),
    ]);
  });
});

describe('the result', () => {
  test('in an encoding, or as bytes', async () => {
    await using server = await agentServer((request) => finish(request, 0, 'é'));
    using connection = await connect(server);
    expect((await connection.exec(['job'], { encoding: 'buffer' })).stdout).toEqual(Buffer.from('é'));
    expect((await connection.exec(['job'], { encoding: 'hex' })).stdout).toBe('c3a9');
  });

  test('with `reject`, an exit code other than 0 is an error shaped like a result', async () => {
    await using server = await agentServer(({ channel, command }) =>
      finish(
        { channel },
        command.includes('good') ? 0 : command.includes('killed') ? 'TERM' : 3,
        'out',
        'it is broken\n',
      ),
    );
    using connection = await connect(server);
    expect(await connection.exec(['good'], { reject: true })).toMatchObject({ exitCode: 0 });
    const error = await connection.exec(['bad', 'x'], { reject: true }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ExecError);
    expect(error).toMatchObject({
      code: 'EXEC_FAILED',
      message: 'bad ended with exit code 3\nit is broken',
      shortMessage: 'bad ended with exit code 3',
      command: 'bad',
      exitCode: 3,
      signal: null,
      stdout: 'out',
      stderr: 'it is broken\n',
      failed: true,
      timedOut: false,
      isCanceled: false,
      isMaxBuffer: false,
    });
    await expect(connection.exec(['killed'], { reject: true })).rejects.toMatchObject({
      shortMessage: 'killed ended by SIGTERM',
      exitCode: null,
      signal: 'SIGTERM',
    });
  });

  test.each([
    { timeoutMs: -1 },
    { timeoutMs: Number.NaN },
    { maxOutputBytes: 0.5 },
    { encoding: 'utf7' as BufferEncoding },
    { limits: { memoryMib: 0 } },
    { limits: { cpus: Number.POSITIVE_INFINITY } },
  ])('%j is refused', async (options) => {
    await using server = await agentServer((request) => finish(request, 0));
    using connection = await connect(server);
    await expect(connection.exec(['true'], options)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect(server.asked()).toBe(0);
  });
});
