import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { AgentServer } from './agent-server.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';
import { closeServer } from './unix-server.js';

/** How the agent leaves in the middle of a handshake. */
export type Leaving = 'ends its half' | 'hangs up' | 'hangs up in the middle of a message' | 'falls silent';

export interface CuttingAgent extends AsyncDisposable {
  readonly udsPath: string;
  /** How many whole messages of its handshake are let through. */
  messages: number;
  leaving: Leaving;
  /** How many messages have come of the handshake of the last connection, whether let through or not. */
  readonly seen: number;
  /** Sockets of the connections that are open. */
  readonly sockets: ReadonlySet<Socket>;
}

const SSH_MSG_NEWKEYS = 21;
/** AES-GCM encrypts all of a packet but its length (RFC 5647). */
const TAG_BYTES = 16;

/** An agent's server that leaves when it has sent so many messages: the vsock answer, SSH's version, and each of its packets (RFC 4253). */
export async function cuttingAgent(agent: AgentServer): Promise<CuttingAgent> {
  const scratch: ScratchDirectory = await scratchDirectory();
  const udsPath = scratch.file('vsock.sock');
  const sockets = new Set<Socket>();
  const state = { messages: Number.POSITIVE_INFINITY, leaving: 'hangs up' as Leaving, seen: 0 };
  const relay = (client: Socket) => {
    sockets.add(client);
    const upstream = connect(agent.udsPath);
    client.on('error', () => undefined).on('close', () => sockets.delete(client) && upstream.destroy());
    upstream.on('error', () => undefined).on('close', () => client.destroy());
    client.on('data', (data: Buffer) => upstream.write(data));
    const splitter = new Splitter();
    let [passed, left] = [0, false];
    const leave = (next: Buffer) => {
      left = true;
      if (state.leaving === 'hangs up in the middle of a message') {
        client.write(next.subarray(0, next.length / 2), () => client.destroy());
      } else if (state.leaving === 'hangs up') {
        client.destroy();
      } else if (state.leaving === 'ends its half') {
        client.end();
      }
    };
    upstream.on('data', (data: Buffer) => {
      for (const message of splitter.push(data)) {
        if (left) {
          return;
        }
        passed++ < state.messages ? client.write(message) : leave(message);
        state.seen = passed;
      }
    });
  };
  const net = createServer(relay).listen(udsPath);
  await once(net, 'listening');
  return Object.assign(state, {
    udsPath,
    sockets,
    async [Symbol.asyncDispose]() {
      await closeServer(net, sockets);
      await scratch[Symbol.asyncDispose]();
    },
  });
}

class Splitter {
  #data = Buffer.alloc(0);
  #lines = 2;
  #isEncrypted = false;

  push(data: Buffer): Buffer[] {
    this.#data = Buffer.concat([this.#data, data]);
    const messages: Buffer[] = [];
    for (let length = this.#length(); length !== undefined; length = this.#length()) {
      const message = this.#data.subarray(0, length);
      this.#data = this.#data.subarray(length);
      this.#lines > 0 ? this.#lines-- : this.#note(message);
      messages.push(message);
    }
    return messages;
  }

  /** Of the first message, if it is there. */
  #length(): number | undefined {
    if (this.#lines > 0) {
      return this.#data.indexOf('\n') + 1 || undefined;
    }
    if (this.#data.length < 4) {
      return undefined;
    }
    const length = 4 + this.#data.readUInt32BE(0) + (this.#isEncrypted ? TAG_BYTES : 0);
    return this.#data.length >= length ? length : undefined;
  }

  #note(packet: Buffer): void {
    this.#isEncrypted ||= packet[5] === SSH_MSG_NEWKEYS;
  }
}
