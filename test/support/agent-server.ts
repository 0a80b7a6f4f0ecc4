import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import ssh2, { type Connection, type ServerChannel } from 'ssh2';
import type { SmartVMError } from '../../ts/errors.js';
import { GuestConnection } from '../../ts/guest/connection.js';
import type { ExecOptions, OutputEncoding } from '../../ts/guest/exec-types.js';
import { Execution } from '../../ts/guest/execution.js';
import { generateVmKeys, type VmKeys } from '../../ts/guest/keys.js';
import { AGENT_PROTOCOL } from '../../ts/guest/protocol.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';
import { closeServer } from './unix-server.js';

/** One exec request, as the server has it. */
export interface ExecRequest {
  readonly command: string;
  readonly channel: ServerChannel;
  readonly connection: Connection;
  readonly socket: Socket;
}

export interface AgentServer extends AsyncDisposable {
  readonly udsPath: string;
  readonly keys: VmKeys;
  /** Sockets of the connections that are open. */
  readonly sockets: ReadonlySet<Socket>;
  /** Names of the signals that came for channels, without SIG. */
  readonly signals: readonly string[];
  /** How often a session was asked for. */
  asked(): number;
}

export interface AgentServerOptions {
  /** What becomes of requests for a session. */
  sessions?: 'accepted' | 'refused' | 'ignored';
  /** After the vsock handshake nothing more is read or said. */
  deaf?: boolean;
  /** What the server calls itself in the handshake. Default: an agent of today. */
  ident?: string;
  /** All that an exec answers at once leaves in one piece. */
  onePacket?: boolean;
  /** Sees each connection before anything comes by it. */
  onConnection?: (connection: Connection, socket: Socket) => void;
}

/** Writes so many bytes 0xa5 as fast as they are taken, and says with each block how long it was. */
export async function* pour(channel: ServerChannel, total: number): AsyncGenerator<number, void, undefined> {
  const block = Buffer.alloc(64 * 1024, 0xa5);
  for (let written = 0; written < total; written += block.length) {
    if (!channel.write(block)) {
      await once(channel, 'drain');
    }
    yield block.length;
  }
}

/** A real SSH server on a Unix socket behind Firecracker's vsock handshake; what it does at an exec is the test's. */
export async function agentServer(
  onExec: (request: ExecRequest) => void,
  options: AgentServerOptions = {},
): Promise<AgentServer> {
  const scratch: ScratchDirectory = await scratchDirectory();
  const udsPath = scratch.file('vsock.sock');
  const keys = await generateVmKeys();
  const sockets = new Set<Socket>();
  let asked = 0;
  const signals: string[] = [];
  // Not by its 'signal' event, which the server of ssh2 keeps to itself once the client's input has ended.
  const debug = (line: string) =>
    signals.push(...(/Inbound: .*CHANNEL_REQUEST.* signal: (\w+)/.exec(line)?.slice(1) ?? []));
  const server = new ssh2.Server({
    hostKeys: [keys.hostKey],
    debug,
    ident: options.ident ?? `SmartVM_${AGENT_PROTOCOL}`,
  });
  server.on('connection', (connection: Connection) => {
    const socket = [...sockets].at(-1) as Socket;
    connection.on('error', () => undefined); // tests cut connections
    options.onConnection?.(connection, socket);
    connection.on('authentication', (context) => {
      const known =
        context.method === 'publickey' && keys.clientPublicKey.includes(context.key.data.toString('base64'));
      known ? context.accept() : context.reject();
    });
    connection.on('session', (accept, reject) => {
      asked++;
      if (options.sessions === 'refused') {
        reject();
      }
      if (options.sessions !== undefined && options.sessions !== 'accepted') {
        return;
      }
      const session = accept();
      session.on('exec', (acceptExec, _rejectExec, { command }) => {
        if (options.onePacket) {
          socket.cork();
          setImmediate(() => socket.uncork());
        }
        const channel = acceptExec();
        channel.on('error', () => undefined);
        onExec({ command, channel, connection, socket });
      });
    });
  });
  const net = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    socket.once('data', (line: Buffer) => {
      if (line.toString() === 'CONNECT 10022\n') {
        socket.write('OK 1073741824\n');
        options.deaf || server.injectSocket(socket);
      } else {
        socket.destroy();
      }
    });
  }).listen(udsPath);
  await once(net, 'listening');
  return {
    udsPath,
    keys,
    sockets,
    signals,
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      await closeServer(net, sockets);
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/** A connection that closes with its scope. */
export async function connect({ udsPath, keys }: AgentServer, explain?: (error: SmartVMError) => Promise<unknown>) {
  const connection = await GuestConnection.open({ udsPath, keys, explain });
  return Object.assign(connection, {
    exec: <E extends OutputEncoding = 'utf8'>(command: string | readonly string[], options?: ExecOptions<E>) =>
      new Execution(async () => connection, command, options),
    [Symbol.dispose]: () => connection.close(),
  });
}

/** Ends an exec as the agent does: all output, then how the process ended, then the channel. */
export function finish(
  { channel }: Pick<ExecRequest, 'channel'>,
  status: number | string,
  stdout = '',
  stderr = '',
): void {
  channel.stderr.write(stderr);
  channel.write(stdout);
  typeof status === 'number' ? channel.exit(status) : channel.exit(status, false, '');
  channel.end();
}
