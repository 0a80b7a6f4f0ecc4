import { Duplex } from 'node:stream';
import type { Channel, ClientChannel } from 'ssh2';

/**
 * A connection to a socket in the guest. Each direction ends on its own. One that breaks in the guest, and the loss of the connection to
 * the agent, destroy it with the reason: what came so far is not taken for all.
 */
export class GuestSocket extends Duplex {
  readonly #channel: Channel;
  #pending: ((error?: Error | null) => void) | undefined;
  #isClosed = false;

  /** @param loss the reason when the connection to the agent is gone; undefined while it is there */
  constructor(channel: Channel, loss: () => Promise<Error | undefined>) {
    super({ allowHalfOpen: true });
    this.#channel = channel;
    (channel as ClientChannel).stderr.resume(); // there is none
    channel.on('error', () => undefined); // 'close' follows
    channel.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) {
        channel.pause();
      }
    });
    const ended = new Promise<void>((resolve) => {
      channel.once('end', resolve);
    }).then(async () => this.#end(breachOf(channel) ?? (await loss())));
    channel.once('close', () => {
      this.#isClosed = true;
      void ended.then(() => this.#close());
    });
  }

  override _read(): void {
    this.#channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#isClosed) {
      done(closed());
      return;
    }
    this.#pending = done;
    this.#channel.write(chunk, (error) => this.#written(error));
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#channel.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#channel.close();
    this.#channel.destroy();
    this.#channel.resume(); // what nobody reads any more would keep it from closing
    done(error);
  }

  #written(error?: Error | null): void {
    const done = this.#pending;
    this.#pending = undefined;
    done?.(error);
  }

  #end(loss: Error | undefined): void {
    loss ? this.destroy(loss) : this.push(null);
  }

  /** Nothing more can be written; what has come can still be read. */
  #close(): void {
    if (this.#pending) {
      this.#written(closed());
    } else if (this.readableEnded) {
      this.destroy();
    } else {
      this.once('end', () => this.destroy());
    }
  }
}

/** The agent says by an exit that a connection broke. Its event may have been before there was a listener: in one packet with the channel. */
function breachOf(channel: Channel): Error | undefined {
  const { _exit } = channel as unknown as { _exit: { code?: number | null } };
  return _exit.code === undefined
    ? undefined
    : Object.assign(new Error('the connection broke in the guest'), { code: 'ECONNRESET' });
}

function closed(): Error {
  return Object.assign(new Error('the guest has closed the connection'), { code: 'EPIPE' });
}
