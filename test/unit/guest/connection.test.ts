import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { SmartVMError } from '../../../ts/errors.js';
import { GuestConnection } from '../../../ts/guest/connection.js';
import { generateVmKeys } from '../../../ts/guest/keys.js';
import { agentServer, connect, type ExecRequest, finish } from '../../support/agent-server.js';
import { until } from '../../support/leftovers.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

describe('opening', () => {
  test('a server with another host key is refused', async () => {
    await using server = await agentServer(() => undefined);
    const { hostPublicKey } = await generateVmKeys();
    const opened = GuestConnection.open({ udsPath: server.udsPath, keys: { ...server.keys, hostPublicKey } });
    await expect(opened).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
      message: expect.stringContaining('verification failed'),
    });
    await until(() => server.sockets.size === 0, 2_000, 'the end of the connection');
  });

  test("a client with another key is refused by the agent's server", async () => {
    await using server = await agentServer(() => undefined);
    const { clientKey } = await generateVmKeys();
    const opened = GuestConnection.open({ udsPath: server.udsPath, keys: { ...server.keys, clientKey } });
    await expect(opened).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
    await until(() => server.sockets.size === 0, 2_000, 'the end of the connection');
  });

  test('a server that stops after the vsock handshake meets the deadline, and the socket is closed', async () => {
    await using server = await agentServer(() => undefined, { deaf: true });
    const opened = GuestConnection.open({ udsPath: server.udsPath, keys: server.keys, timeoutMs: 100 });
    await expect(opened).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
    await until(() => server.sockets.size === 0, 2_000, 'the end of the connection');
  });

  test('a guest that hangs up in the middle of the SSH handshake, in one direction, ends it', async () => {
    await using server = await agentServer(() => undefined, { deaf: true });
    const opened = GuestConnection.open({ udsPath: server.udsPath, keys: server.keys, timeoutMs: 1_000 });
    const outcome = opened.catch((error: unknown) => error);
    const socket = () => [...server.sockets][0];
    await until(() => (socket()?.bytesRead ?? 0) > 'CONNECT 10022\n'.length, 30_000, 'a word of SSH');
    socket()?.end('SSH-2.0-agent\r\n');
    expect(await outcome).toMatchObject({ code: 'AGENT_UNREACHABLE' });
    await until(() => server.sockets.size === 0, 30_000, 'the end of the connection');
  });

  test('a signal ends it in the middle of the SSH handshake', async () => {
    await using server = await agentServer(() => undefined, { deaf: true });
    const controller = new AbortController();
    const opened = GuestConnection.open({ udsPath: server.udsPath, keys: server.keys, signal: controller.signal });
    await until(() => server.sockets.size === 1, 2_000, 'the connection');
    controller.abort();
    await expect(opened).rejects.toMatchObject({ code: 'CANCELED' });
    await until(() => server.sockets.size === 0, 2_000, 'the end of the connection');
  });

  test('nobody there is AGENT_UNREACHABLE', async () => {
    const keys = await generateVmKeys();
    await expect(GuestConnection.open({ udsPath: '/nonexistent/vsock.sock', keys })).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
    });
  });
});

describe('a lost connection', () => {
  const LOSSES: [string, (request: ExecRequest) => void][] = [
    ['cut', ({ socket }) => socket.destroy()],
    ['ended in one direction only', ({ socket }) => socket.end()],
    ['ended by SSH', ({ connection }) => connection.end()],
    ['talking something else than SSH', ({ socket }) => socket.write(randomBytes(4096))],
  ];

  test.each(LOSSES)('%s: the exec under way and those after it are AGENT_UNREACHABLE', async (_how, lose) => {
    await using server = await agentServer(lose);
    using connection = await connect(server);
    await expect(connection.exec(['sleep', '9'])).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
    await expect(connection.exec(['true'])).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
    await until(() => server.sockets.size === 0, 2_000, 'the end of the connection');
  });

  test('while a channel is being opened', async () => {
    await using server = await agentServer(() => undefined, { sessions: 'ignored' });
    using connection = await connect(server);
    const result = connection.exec(['true']);
    await until(() => server.asked() === 1, 2_000, 'the request for a session');
    for (const socket of server.sockets) {
      socket.destroy();
    }
    await expect(result).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
  });

  test('is explained', async () => {
    await using server = await agentServer(({ socket }) => socket.destroy());
    const explain = async (cause: SmartVMError) => new SmartVMError('VMM_EXITED', 'it was killed', { cause });
    using connection = await connect(server, explain);
    await expect(connection.exec(['sleep', '9'])).rejects.toMatchObject({
      code: 'VMM_EXITED',
      cause: { code: 'AGENT_UNREACHABLE' },
    });
  });

  test('by close(): what is under way gets the reason, and so does what comes later', async () => {
    let begun = false;
    await using server = await agentServer(() => {
      begun = true;
    });
    using connection = await connect(server);
    const result = connection.exec(['sleep', '9']);
    await until(() => begun, 2_000, 'the command');
    connection.close(new SmartVMError('VMM_EXITED', 'it was killed'));
    await expect(result).rejects.toMatchObject({ code: 'VMM_EXITED' });
    await expect(connection.exec(['true'])).rejects.toMatchObject({ code: 'VMM_EXITED' });
  });

  test('by close() without a reason', async () => {
    await using server = await agentServer(() => undefined);
    using connection = await connect(server);
    connection.close();
    await expect(connection.exec(['true'])).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
  });
});

describe('a guest that sends more than it was granted', () => {
  /** Past what ssh2 does for the window. */
  interface Internals {
    readonly outgoing: { readonly id: number };
    readonly _client: { readonly _protocol: Record<'channelData' | 'channelExtData', SendData> };
  }
  type SendData = (channel: number, data: Buffer, type?: number) => void;

  test.each(['channelData', 'channelExtData'] as const)('by %s loses its connection', async (send) => {
    await using server = await agentServer(({ channel }) => {
      const { _client, outgoing } = channel as unknown as Internals;
      for (let packet = 0; packet < 1_000; packet++) {
        _client._protocol[send](outgoing.id, Buffer.alloc(32 * 1024 - 1), 1);
      }
    });
    using connection = await connect(server);
    const command = await connection.open(['yes']);
    await connection.closed;
    const [output, words] = [command.stdout.readableLength, command.stderr.readableLength];
    expect(output + words).toBeLessThan(5 * 1024 * 1024);
    command.stdout.resume();
    command.stderr.resume();
    await expect(command.wait()).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
      message: expect.stringContaining('it sends more than it may'),
    });
  });
});

describe('requests to the agent', () => {
  test('go out as the verb and its parameters', async () => {
    const commands: string[] = [];
    await using server = await agentServer((request) => {
      commands.push(request.command);
      finish(request, 0, '{}');
    });
    using connection = await connect(server);
    await connection.shutdown('reboot');
    expect(commands).toEqual(['smartvm-agent shutdown {"mode":"reboot"}']);
  });

  test.each([
    ['its error', '{"error":"no such mode"}', 'no such mode'],
    ['no JSON', 'Segmentation fault', 'shutdown failed'],
    ['nothing', '', 'shutdown failed'],
    ['null', 'null', 'shutdown failed'],
    ['no end', 'x'.repeat(3_000_000), 'does not end'],
  ])('answered by %s are AGENT_FAILED', async (_what, answer, message) => {
    await using server = await agentServer((request) => finish(request, 0, answer));
    using connection = await connect(server);
    await expect(connection.shutdown('reboot')).rejects.toMatchObject({
      code: 'AGENT_FAILED',
      message: expect.stringContaining(message),
    });
  });

  test('broken off by the end of the connection are AGENT_UNREACHABLE', async () => {
    await using server = await agentServer(({ socket }) => socket.destroy());
    using connection = await connect(server);
    await expect(connection.shutdown('reboot')).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
  });
});
