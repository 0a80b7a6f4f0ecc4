import { text } from 'node:stream/consumers';
import { describe, expect, test, vi } from 'vitest';
import { metricsOf } from '../../../ts/guest/metrics.js';
import { GuestProcesses } from '../../../ts/guest/processes.js';
import { agentServer, connect, type ExecRequest, finish } from '../../support/agent-server.js';
import { until } from '../../support/leftovers.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

const TOLD = { pid: 12, argv: ['job', 'x'], cwd: '/', user: 'root', startedAt: 1_790_000_000_000, outlives: true };

/** What the command says of itself in JSON, behind its first word. */
const requestOf = ({ command }: ExecRequest) => JSON.parse(command.slice(command.indexOf(' ')));

describe('spawn()', () => {
  test('gives the pid, and streams that begin behind the line that tells it', async () => {
    await using server = await agentServer((request) => {
      expect(requestOf(request)).toEqual({ argv: ['job'], spawned: { outlives: false, noInput: false } });
      request.channel.stderr.write('early words');
      request.channel.write('{"pid":12}\nout');
      finish(request, 4, 'put');
    });
    using connection = await connect(server);
    const child = await connection.spawn(['job']);
    expect(child).toMatchObject({ pid: 12, detached: false, dropped: 0 });
    expect(await Promise.all([text(child.stdout), text(child.stderr)])).toEqual(['output', 'early words']);
    expect(await child.wait()).toEqual({ exitCode: 4, signal: null });
    expect(() => child.release()).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
  });

  test('a detached one is let go of without an end, and ended with a signal', async () => {
    const closed = vi.fn();
    await using server = await agentServer((request) => {
      expect(requestOf(request).spawned).toEqual({ outlives: true, noInput: true });
      request.channel.on('close', closed).resume();
      request.channel.write('{"pid":12}\n');
    });
    using connection = await connect(server);
    const child = await connection.spawn(['job'], { detached: true, stdin: 'ignore' });
    child.release();
    await expect(child.wait()).rejects.toMatchObject({ code: 'CANCELED' });
    await until(() => closed.mock.calls.length === 1, 2_000, 'the end of the channel');
    expect(server.signals).toEqual([]);
    (await connection.spawn(['job'], { detached: true, stdin: 'ignore' })).destroy();
    await until(() => closed.mock.calls.length === 2, 2_000, 'the end of the channel');
    expect(server.signals).toEqual(['KILL']);
  });

  test('one that cannot be executed is EXEC_FAILED', async () => {
    await using server = await agentServer((request) => finish(request, 127, '', 'smartvm-agent: nosuch: not found\n'));
    using connection = await connect(server);
    await expect(connection.spawn(['nosuch'])).rejects.toMatchObject({
      code: 'EXEC_FAILED',
      message: 'nosuch: not found',
      details: { exitCode: 127 },
    });
  });

  test.each(['no json', '{"pid":-1}', '{"pid":12,"x":1}', '[]'])(
    'a line that tells no pid, %s, is AGENT_FAILED',
    async (line) => {
      await using server = await agentServer(({ channel }) => channel.write(`${line}\n`));
      using connection = await connect(server);
      await expect(connection.spawn(['job'])).rejects.toMatchObject({ code: 'AGENT_FAILED' });
    },
  );

  test('a line that does not end is no start', async () => {
    await using server = await agentServer((request) => finish(request, 0, 'x'.repeat(100_000)));
    using connection = await connect(server);
    await expect(connection.spawn(['job'])).rejects.toMatchObject({ code: 'EXEC_FAILED' });
  });
});

describe('processes', () => {
  test('are listed as the agent tells of them', async () => {
    const ended = { ...TOLD, pid: 13, outlives: false, signal: 'TERM' };
    await using server = await agentServer((request) => {
      expect(request.command).toBe('smartvm-agent processes {}');
      finish(request, 0, JSON.stringify({ processes: [TOLD, ended, { ...TOLD, exitCode: 3 }] }));
    });
    using connection = await connect(server);
    const { outlives: _outlives, ...facts } = TOLD;
    const startedAt = new Date(TOLD.startedAt);
    expect(await new GuestProcesses(async () => connection).list()).toEqual([
      { ...facts, startedAt, detached: true, exit: undefined },
      { ...facts, startedAt, pid: 13, detached: false, exit: { exitCode: null, signal: 'SIGTERM' } },
      { ...facts, startedAt, detached: true, exit: { exitCode: 3, signal: null } },
    ]);
  });

  test.each([{}, { processes: [{ ...TOLD, pid: 'x' }] }, { processes: [{ pid: 1 }] }])(
    '%j is no list',
    async (answer) => {
      await using server = await agentServer((request) => finish(request, 0, JSON.stringify(answer)));
      using connection = await connect(server);
      await expect(new GuestProcesses(async () => connection).list()).rejects.toMatchObject({ code: 'AGENT_FAILED' });
    },
  );

  test('are reached by their number, which may be nobody’s', async () => {
    await using server = await agentServer((request) => {
      if (request.command.includes('99')) {
        finish(request, 127, '', 'smartvm-agent: 99: no such process\n');
        return;
      }
      expect(request.command).toBe('smartvm-attach {"pid":12}');
      finish(request, 0, `${JSON.stringify({ ...TOLD, dropped: 5 })}\nrest`);
    });
    using connection = await connect(server);
    const processes = new GuestProcesses(async () => connection);
    const child = await processes.connect(12);
    child.stderr.resume();
    expect(child).toMatchObject({ pid: 12, detached: true, dropped: 5 });
    expect(await text(child.stdout)).toBe('rest');
    await expect(processes.connect(99)).rejects.toMatchObject({ code: 'PROCESS_NOT_FOUND', details: { pid: 99 } });
    await expect(processes.connect(0)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test('are signalled', async () => {
    await using server = await agentServer((request) => {
      const { pid, signal } = JSON.parse(request.command.slice('smartvm-agent signal '.length));
      finish(request, 0, JSON.stringify({ signaled: pid === 12 && signal === 'STOP' }));
    });
    using connection = await connect(server);
    const processes = new GuestProcesses(async () => connection);
    await processes.kill(12, 'SIGSTOP');
    await expect(processes.kill(13)).rejects.toMatchObject({ code: 'PROCESS_NOT_FOUND' });
  });
});

describe('an agent of an older release', () => {
  test.each(['SmartVM', 'SmartVM_1'])('%s runs commands, and says what it cannot', async (ident) => {
    await using server = await agentServer((request) => finish(request, 0, 'ok'), { ident });
    using connection = await connect(server);
    expect((await connection.exec(['true'])).stdout).toBe('ok');
    const processes = new GuestProcesses(async () => connection);
    for (const asked of [
      () => connection.spawn(['job']),
      () => connection.exec(['job'], { limits: { cpus: 1 } }),
      () => processes.list(),
      () => processes.connect(1),
      () => processes.kill(1),
    ]) {
      await expect(asked()).rejects.toMatchObject({ code: 'AGENT_TOO_OLD', details: { protocol: 1, needed: 2 } });
    }
  });
});

test('metrics of a guest are taken for what they are, or not at all', () => {
  const sizes = { totalBytes: 3, freeBytes: 2, availableBytes: 1 };
  const cpu = { count: 1, userMs: 1, systemMs: 1, idleMs: 1, stealMs: 0, load: [0.5, 0, 0] };
  const metrics = { uptimeMs: 1, cpu, memory: sizes, disk: sizes, processes: { total: 2, running: 1 } };
  expect(metricsOf(metrics)).toEqual(metrics);
  for (const answer of [null, {}, { ...metrics, cpu: { ...cpu, count: '1' } }, { ...metrics, uptimeMs: -1 }]) {
    expect(() => metricsOf(answer)).toThrow(expect.objectContaining({ code: 'AGENT_FAILED' }));
  }
});
