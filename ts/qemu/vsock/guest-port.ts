import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { Duplex } from 'node:stream';

const STREAM_WINDOW_BYTES = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;
/** Node refuses new streams above this; windows that are full on many streams must fit. */
const SESSION_MEMORY_MB = 1024;
const MAX_STREAMS = 1024;

/**
 * The guest agent behind a virtio-serial port, as an HTTP/2 server: one CONNECT stream a connection. Streams have flow
 * control of their own, so one that is not read does not hold up the others.
 */
export class GuestPort {
  readonly #channel: Duplex;
  readonly #streams = new Set<ClientHttp2Stream>();
  #session: ClientHttp2Session | undefined;
  #lease: Lease | undefined;

  constructor(channel: Duplex) {
    this.#channel = channel;
    channel.on('error', () => this.setOpen(false));
    channel.once('close', () => this.setOpen(false));
  }

  /** The host must not speak before the guest has opened the port, and begins anew when the guest opens it again. */
  setOpen(open: boolean): void {
    // Not the session: it would say goodbye, which the guest's next session would read as its first bytes.
    this.#lease?.destroy();
    for (const stream of this.#streams) {
      stream.destroy(); // a session without its channel waits for its streams for ever
    }
    this.#lease = open ? new Lease(this.#channel) : undefined;
    this.#session = this.#lease && connectOver(this.#lease);
  }

  /**
   * A stream to a port of the guest, or to a service of its agent's by name; undefined when nothing listens there or the agent
   * is not up.
   */
  dial(port: number | string): Promise<ClientHttp2Stream | undefined> {
    const session = this.#session;
    if (!session || session.closed || session.destroyed) {
      return Promise.resolve(undefined);
    }
    const stream = session.request({ ':method': 'CONNECT', ':authority': String(port) }, { endStream: false });
    this.#streams.add(stream);
    stream.once('close', () => this.#streams.delete(stream));
    return new Promise((resolve) => {
      const refused = () => resolve(undefined);
      stream.once('error', refused);
      stream.once('close', refused);
      stream.once('response', (headers) => {
        stream.off('error', refused).off('close', refused);
        if (headers[':status'] === constants.HTTP_STATUS_OK) {
          resolve(stream);
        } else {
          stream.on('error', () => undefined);
          stream.close(constants.NGHTTP2_CANCEL);
          resolve(undefined);
        }
      });
    });
  }
}

function connectOver(lease: Lease): ClientHttp2Session {
  const session = connect('http://guest', {
    createConnection: () => lease,
    settings: { initialWindowSize: STREAM_WINDOW_BYTES, enablePush: false },
    maxSessionMemory: SESSION_MEMORY_MB,
    peerMaxConcurrentStreams: MAX_STREAMS,
  });
  session.on('error', () => session.destroy());
  session.once('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
  return session;
}

/** The channel for the time of one session, which would close what it is given; the channel must serve the next one. */
class Lease extends Duplex {
  readonly #channel: Duplex;
  readonly #onData = (chunk: Buffer) => {
    if (!this.push(chunk)) {
      this.#channel.pause();
    }
  };

  constructor(channel: Duplex) {
    super();
    this.#channel = channel;
    channel.on('data', this.#onData);
  }

  override _read(): void {
    this.#channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#channel.write(chunk, callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#channel.off('data', this.#onData);
    callback(error);
  }
}
