import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { Connection, ServerChannel } from 'ssh2';
import { describe, expect, test } from 'vitest';
import type { GuestAddress } from '../../../ts/guest/ports/address.js';
import { agentServer, connect } from '../../support/agent-server.js';
import { until } from '../../support/leftovers.js';
import { failOnWarnings } from '../../support/warnings.js';

failOnWarnings();

const PORT = 3128;
const PATH = '/run/host.sock';
const ADDRESSES: [string, GuestAddress][] = [
  ['a port', { port: 0 }],
  ['a Unix socket', { path: PATH }],
];

/** The guest's side of a forwarding to the host: `on` is told of each request to listen or to stop. */
function listens(
  on: (what: 'listen' | 'stop', accept: () => void, socket: Socket) => void,
  opened: (channel: ServerChannel) => ServerChannel = (channel) => channel,
) {
  let guest!: Connection;
  const onConnection = (connection: Connection, socket: Socket) => {
    guest = connection;
    connection.on('request', (accept, _reject, name: string) =>
      on(name.startsWith('cancel') ? 'stop' : 'listen', () => accept?.(PORT), socket),
    );
  };
  /** What becomes of a connection that a program of the guest makes. */
  const comes = (address: GuestAddress) =>
    new Promise<ServerChannel | undefined>((resolve) => {
      const done = (error: Error | undefined, channel: ServerChannel) => resolve(error ? undefined : opened(channel));
      'path' in address
        ? guest.openssh_forwardOutStreamLocal(address.path, done as never)
        : guest.forwardOut('localhost', PORT, '127.0.0.1', 40_000, done as never);
    });
  return { onConnection, comes };
}

/** A guest that never says that a channel is closed. */
function keepOpen(channel: ServerChannel): ServerChannel {
  return Object.assign(channel, { close: () => undefined });
}

describe.each(ADDRESSES)('connections of the guest to %s', (_what, address) => {
  test('are refused when too many are open there, though they be closed here', async () => {
    const { onConnection, comes } = listens((_request, accept) => accept(), keepOpen);
    await using server = await agentServer(() => undefined, { onConnection });
    using connection = await connect(server);
    let taken = 0;
    await connection.listen(address, (socket) => {
      taken += 1;
      socket.destroy();
    });
    const open: ServerChannel[] = [];
    for (let count = 0; count < 600; count += 20) {
      const some = await Promise.all(Array.from({ length: 20 }, () => comes(address)));
      open.push(...some.filter((channel) => channel !== undefined));
    }
    expect([open.length, taken]).toEqual([512, 512]);
    const first = open[0] as ServerChannel;
    Reflect.deleteProperty(first, 'close');
    first.close();
    await until(async () => (await comes(address)) !== undefined, 2_000, 'room for one more');
    expect(taken).toBe(513);
  });

  test('are taken from the first on, and refused from the end on', async () => {
    const { promise: first, resolve: isFirst } = resolvable<ServerChannel | undefined>();
    const { promise: last, resolve: isLast } = resolvable<ServerChannel | undefined>();
    const { onConnection, comes } = listens((request, accept, socket) => {
      socket.cork();
      setImmediate(() => socket.uncork());
      request === 'listen' && accept();
      comes(address).then(request === 'listen' ? isFirst : isLast);
      request === 'stop' && last.then(accept);
    });
    await using server = await agentServer(() => undefined, { onConnection });
    using connection = await connect(server);
    const sockets: Duplex[] = [];
    const listener = await connection.listen(address, (socket) => {
      sockets.push(socket.on('error', () => undefined)); // of the connection's end
    });
    expect(listener.address).toMatchObject('path' in address ? address : { port: PORT });
    expect(await first).toBeDefined();
    expect(sockets).toHaveLength(1);
    await listener.stop();
    expect(await last).toBeUndefined();
    expect(sockets).toHaveLength(1);
  });
});

test('a connection that breaks in the guest at once does not end as if all had come', async () => {
  await using server = await agentServer(() => undefined, {
    onConnection: (connection, socket) =>
      connection.on('tcpip', (accept) => {
        socket.cork();
        setImmediate(() => socket.uncork());
        const channel = accept();
        channel.write('half');
        const { _protocol } = connection as unknown as {
          _protocol: { exitSignal(id: number, name: string, dumped: boolean, words: string): void };
        };
        const { outgoing } = channel as unknown as { outgoing: { id: number } };
        _protocol.exitSignal(outgoing.id, 'PIPE', false, '');
        channel.end();
      }),
  });
  using connection = await connect(server);
  await expect(buffer(await connection.dial({ port: 80 }))).rejects.toMatchObject({ code: 'ECONNRESET' });
});

function resolvable<T>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((resolveNow) => {
    resolve = resolveNow;
  });
  return { promise, resolve };
}
