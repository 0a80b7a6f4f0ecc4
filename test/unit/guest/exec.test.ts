import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import type { SmartVMError } from '../../../ts/errors.js';
import { agentServer, connect, type ExecRequest, finish, pour } from '../../support/agent-server.js';
import { until } from '../../support/leftovers.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

describe('exec', () => {
  test('gives output and exit code, which are no error', async () => {
    await using server = await agentServer((request) => finish(request, 7, 'out', 'err'));
    using connection = await connect(server);
    const result = await connection.exec(['false']);
    expect(result).toMatchObject({ exitCode: 7, signal: null, stdout: 'out', stderr: 'err' });
    expect(result.durationMs).toBeGreaterThan(0);
  });

  test('passes the argument vector, directory, environment and user', async () => {
    await using server = await agentServer((request) => finish(request, 0, request.command));
    using connection = await connect(server);
    const { stdout } = await connection.exec(['a b', '$x', ''], { cwd: '/tmp', env: { A: 'ü' }, user: 'nobody' });
    expect(stdout).toMatch(/^smartvm-exec /);
    expect(JSON.parse(stdout.slice('smartvm-exec '.length))).toEqual({
      argv: ['a b', '$x', ''],
      cwd: '/tmp',
      env: { A: 'ü' },
      user: 'nobody',
    });
  });

  test('takes a string only for a shell', async () => {
    await using server = await agentServer((request) => finish(request, 0, request.command));
    using connection = await connect(server);
    await expect(connection.exec('ls -l')).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    const { stdout } = await connection.exec('ls -l', { shell: true });
    expect(stdout).toContain('["/bin/sh","-c","ls -l"]');
  });

  test.each([
    ['no argument', []],
    ['a NUL', ['a\0b']],
    ['what is not a string', [1 as unknown as string]],
    ['more than 256 KiB', ['x'.repeat(300_000)]],
  ])('refuses %s', async (_what, argv) => {
    await using server = await agentServer((request) => finish(request, 0));
    using connection = await connect(server);
    await expect(connection.exec(argv)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test('a whole exec that arrives in one packet loses neither output nor exit code', async () => {
    await using server = await agentServer((request) => finish(request, 3, 'out', 'err'), { onePacket: true });
    using connection = await connect(server);
    for (let round = 0; round < 20; round++) {
      expect(await connection.exec(['true'])).toMatchObject({ exitCode: 3, stdout: 'out', stderr: 'err' });
    }
  });

  test('30 at a time', async () => {
    await using server = await agentServer((request) => finish(request, 0, request.command));
    using connection = await connect(server);
    const results = await Promise.all(Array.from({ length: 30 }, (_, n) => connection.exec([`command-${n}`])));
    expect(results.map(({ stdout }) => stdout.match(/command-\d+/)?.[0])).toEqual(
      Array.from({ length: 30 }, (_, n) => `command-${n}`),
    );
  });

  test.each(['TERM', 'KILL', 'SEGV'])('an exit by SIG%s', async (name) => {
    await using server = await agentServer((request) => finish(request, name, 'last words'));
    using connection = await connect(server);
    const exit = await connection.exec(['sleep', '9']);
    expect(exit).toMatchObject({ exitCode: null, signal: `SIG${name}`, stdout: 'last words' });
  });

  test('characters that a packet splits stay whole', async () => {
    await using server = await agentServer(({ channel }) => {
      for (const byte of Buffer.from('é€😀')) {
        channel.write(Buffer.of(byte));
      }
      finish({ channel }, 0);
    });
    using connection = await connect(server);
    expect((await connection.exec(['cat'])).stdout).toBe('é€😀');
  });
});

describe('what ends an exec early', () => {
  /** A server whose commands run until their channel is closed. */
  async function endless() {
    const channels: ExecRequest['channel'][] = [];
    const closed: string[] = [];
    const server = await agentServer(({ command, channel }) => {
      if (command.includes('quick')) {
        finish({ channel }, 0, 'quick');
        return;
      }
      channels.push(channel);
      channel.on('close', () => closed.push(command)).resume();
      channel.write('so far');
    });
    return Object.assign(server, { channels, closed });
  }

  test('its timeout: EXEC_TIMEOUT, the channel closed, the connection whole', async () => {
    await using server = await endless();
    using connection = await connect(server);
    const error = await connection.exec(['sleep', '9'], { timeoutMs: 300 }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'EXEC_TIMEOUT', details: { stdout: 'so far', stderr: '' } });
    await until(() => server.closed.length === 1, 2_000, 'the end of the channel');
    expect((await connection.exec(['quick'])).stdout).toBe('quick');
  });

  test('a timeout also when the guest never answers', async () => {
    await using server = await agentServer(() => undefined, { sessions: 'ignored' });
    using connection = await connect(server);
    await expect(connection.exec(['sleep', '9'], { timeoutMs: 50 })).rejects.toMatchObject({ code: 'EXEC_TIMEOUT' });
  });

  test('its signal: CANCELED', async () => {
    await using server = await endless();
    using connection = await connect(server);
    const controller = new AbortController();
    const result = connection.exec(['sleep', '9'], { signal: controller.signal });
    await until(() => server.channels.length === 1, 2_000, 'the command');
    controller.abort('why not');
    await expect(result).rejects.toMatchObject({ code: 'CANCELED', cause: 'why not' });
    await until(() => server.closed.length === 1, 2_000, 'the end of the channel');
    expect((await connection.exec(['quick'])).stdout).toBe('quick');
  });

  test('a signal that had aborted before', async () => {
    await using server = await endless();
    using connection = await connect(server);
    await expect(connection.exec(['sleep', '9'], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'CANCELED',
    });
    expect((await connection.exec(['quick'])).stdout).toBe('quick');
    await until(() => server.closed.length === server.channels.length, 2_000, 'the end of the channel');
  });

  test.each(['stdout', 'stderr'] as const)('its output limit on %s: EXEC_OUTPUT_LIMIT', async (name) => {
    const closed = vi.fn();
    await using server = await agentServer(({ channel }) => {
      channel.on('close', closed).resume();
      const stream = name === 'stdout' ? channel : channel.stderr;
      stream.write('x'.repeat(1_000));
      stream.write('y'.repeat(1_000_000));
    });
    using connection = await connect(server);
    const error = await connection.exec(['yes'], { maxOutputBytes: 1_000 }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'EXEC_OUTPUT_LIMIT' });
    expect((error as SmartVMError).details[name]).toMatch(/^x*$/);
    await until(() => closed.mock.calls.length === 1, 2_000, 'the end of the channel');
  });

  test('output of exactly the limit is within it', async () => {
    await using server = await agentServer((request) => finish(request, 0, 'x'.repeat(1_000)));
    using connection = await connect(server);
    expect((await connection.exec(['yes'], { maxOutputBytes: 1_000 })).stdout).toHaveLength(1_000);
  });

  test('the agent closing the channel without a word: AGENT_FAILED, the connection whole', async () => {
    await using server = await agentServer(({ command, channel }) =>
      command.includes('quick') ? finish({ channel }, 0, 'quick') : channel.close(),
    );
    using connection = await connect(server);
    await expect(connection.exec(['odd'])).rejects.toMatchObject({ code: 'AGENT_FAILED' });
    expect((await connection.exec(['quick'])).stdout).toBe('quick');
  });

  test('the agent refusing a session: AGENT_FAILED', async () => {
    await using server = await agentServer(() => undefined, { sessions: 'refused' });
    using connection = await connect(server);
    await expect(connection.exec(['true'])).rejects.toMatchObject({ code: 'AGENT_FAILED' });
  });
});

describe('spawn', () => {
  test('a half-closed standard input: what was written arrives whole, output goes on', async () => {
    await using server = await agentServer(({ channel }) => {
      const hash = createHash('sha256');
      channel.on('data', (chunk: Buffer) => hash.update(chunk));
      channel.on('end', () => finish({ channel }, 0, hash.digest('hex')));
    });
    using connection = await connect(server);
    const input = randomBytes(5_000_000);
    const { stdout } = await connection.exec(['sha256sum'], { stdin: input });
    expect(stdout).toBe(createHash('sha256').update(input).digest('hex'));
  });

  test('kill() signals, before standard input has ended and after', async () => {
    let end = () => undefined as unknown;
    await using server = await agentServer((request) => {
      end = () => finish(request, 'TERM');
    });
    using connection = await connect(server);
    const child = await connection.open(['sleep', '9']);
    child.stdout.resume();
    child.kill('SIGUSR1');
    child.stdin.end();
    await once(child.stdin, 'finish');
    child.kill();
    await until(() => server.signals.length === 2, 2_000, 'the signals');
    expect(server.signals).toEqual(['USR1', 'TERM']);
    end();
    expect(await child.wait()).toEqual({ exitCode: null, signal: 'SIGTERM' });
    child.kill(); // to nobody
  });

  test('kill() with a signal that SSH has no name for is INVALID_OPTION', async () => {
    await using server = await agentServer(() => undefined);
    using connection = await connect(server);
    const child = await connection.open(['sleep', '9']);
    expect(() => child.kill('SIGSTOP')).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });

  test('destroy() closes the channel; wait() rejects with CANCELED', async () => {
    const closed = vi.fn();
    await using server = await agentServer(({ channel }) => void channel.on('close', closed).resume());
    using connection = await connect(server);
    const child = await connection.open(['sleep', '9']);
    child.stdout.resume();
    child.destroy();
    await expect(child.wait()).rejects.toMatchObject({ code: 'CANCELED' });
    await until(() => closed.mock.calls.length === 1, 2_000, 'the end of the channel');
  });

  test('a slow reader gets everything, and holds the writer up meanwhile', async () => {
    const total = 16 * 1024 * 1024;
    let written = 0;
    await using server = await agentServer(async ({ channel }) => {
      for await (const length of pour(channel, total)) {
        written += length;
      }
      finish({ channel }, 0);
    });
    using connection = await connect(server);
    const child = await connection.open(['cat', '/dev/zero']);
    child.stderr.resume();
    await until(() => written > 1024 * 1024, 5_000, 'the first bytes');
    const hash = createHash('sha256');
    let read = 0;
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      read += chunk.length;
      hash.update(chunk);
      await new Promise(setImmediate);
      // What is on its way: SSH windows on both sides and socket buffers.
      expect(written - read).toBeLessThan(8 * 1024 * 1024);
    }
    expect(read).toBe(total);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(Buffer.alloc(total, 0xa5)).digest('hex'));
    expect(await child.wait()).toEqual({ exitCode: 0, signal: null });
  });
});
